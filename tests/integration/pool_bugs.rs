//! Nineteen ways in which pools of sandboxes failed others, numbered B1 to B19, and that ours does not.
//!
//! | what went wrong elsewhere | tried in |
//! | --- | --- |
//! | B1 one claim, two machines · B2 one machine, two claims · B5 granted though not ready · B6 a rotation takes a claimed one · B16 refill slows claims | `claims` (B16 is measured: `./dev bench claims --with-refill`) |
//! | B3 made many times too often · B4 a lost event freezes the pool · B7 a lost lock shrinks it · B8 a bad image costs without end · B9 machines nobody knows of · B14 one timeout stops a burst | `supply` |
//! | B11 one sandbox's end hits another · B12 limits differ when warm · B13 handed over again · B17 bound to a worker that is no more · B18 epochs begin anew · B19 a wake is lost | `handover` |
//! | B10 only the control plane ends a machine | the supervisor's own tests: `a_machine_whose_control_plane_is_gone_ends_by_itself_at_its_deadline` |
//! | B15 a placeholder leaves instead of a credential | the supervisor's `each_server_gets_its_own_token_in_place_of_what_the_caller_sent`, the gateway's `the_provider_gets_our_key_and_never_the_runs_token` |

mod claims;
mod handover;
mod supply;

use anyhow::Result;
use nightshift_engine::Platform;
use nightshift_store::{Role, Store};
use nightshift_tests::World;

/// As many processes as asked for: the same platform, each with connections of its own.
async fn processes(world: &World, count: usize) -> Result<Vec<Platform>> {
    let mut processes = Vec::with_capacity(count);
    for _ in 0..count {
        let own = Role::Engine.acting(&world.pg.connect_options(), 10).await?;
        processes.push(Platform {
            store: Store::new(own),
            ..world.platform.clone()
        });
    }
    Ok(processes)
}

/// Sandboxes that more than one investigation holds, and investigations that hold one which does not
/// think so.
async fn wrongly_held(world: &World) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "select (select count(*) from (select sandbox_id from investigations
                                        where sandbox_id is not null
                                        group by 1 having count(*) > 1) shared)
              + (select count(*) from investigations i
                   join sandboxes s on s.id = i.sandbox_id
                  where s.state <> 'claimed' or s.investigation_id <> i.id or s.epoch <> i.epoch)
              + (select count(*) from sandboxes s
                  where s.state = 'claimed'
                    and not exists (select from investigations i where i.sandbox_id = s.id))",
    )
    .fetch_one(&world.pg)
    .await?)
}
