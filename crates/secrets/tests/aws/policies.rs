//! The policies in `infra/policies`, as texts and as what they decide: control `tenant-policies`.

use std::{fs, path::Path};

use serde_json::Value;

use super::iam::{Request, Says, may, says};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const ISSUER: &str = "session.nightshift.example";
pub(crate) const READER: &str = "nightshift-tenant-reader";
pub(crate) const A: &str = "0192f0c1-0000-7000-8000-00000000000a";
pub(crate) const B: &str = "0192f0c1-0000-7000-8000-00000000000b";

fn text(name: &str) -> String {
    // Other tests use these stand-ins too, from other depths.
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder = above.find_map(|it| Some(it.join("infra/policies")).filter(|it| it.is_dir()));
    fs::read_to_string(folder.unwrap().join(name)).unwrap()
}

/// A policy as it is deployed.
pub(crate) fn deployed(name: &str, secret: &str, tenant: &str) -> Value {
    let text = text(name)
        .replace("__ACCOUNT__", ACCOUNT)
        .replace("__REGION__", REGION)
        .replace("__ISSUER__", ISSUER)
        .replace("__ENVIRONMENT__", "prod")
        .replace("__READER__", READER)
        .replace("__KEY__", "0b7e7b0e-0000-4000-8000-000000000000")
        .replace("__SECRET__", secret)
        .replace("__TENANT__", tenant);
    assert!(!text.contains("__"), "a place was left open in {name}");
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn arn(tenant: &str, credential: &str) -> String {
    format!(
        "arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:nightshift/prod/t/{tenant}/{credential}-Ab3dE6"
    )
}

fn policies(tenant: &str) -> (Value, Value, Value) {
    let secret = format!("nightshift/prod/t/{tenant}/loki");
    (
        deployed("tenant-reader-permissions.json", "", ""),
        deployed("tenant-secret-session.json", &secret, ""),
        deployed("tenant-secret-resource.json", "", tenant),
    )
}

/// A session of tenant A for its `loki` reads that very secret.
fn good() -> Request {
    Request::new("secretsmanager:GetSecretValue", &arn(A, "loki"))
        .with("aws:PrincipalTag/tenant", &[A])
        .with("aws:PrincipalTag/credential", &["loki"])
        .with(
            "aws:PrincipalArn",
            &[&format!("arn:aws:iam::{ACCOUNT}:role/{READER}")],
        )
        .with("secretsmanager:ResourceTag/tenant", &[A])
        .with("secretsmanager:VersionStage", &["AWSCURRENT"])
}

#[test]
fn a_tenants_own_secret_is_read_and_nothing_that_differs_in_one_thing() {
    let (role, session, resource) = policies(A);
    let decide = |request: &Request| may(&role, Some(&session), &resource, request);
    assert!(decide(&good()));
    let named = |arn: String| Request {
        resource: arn,
        ..good()
    };
    for (what, request) in [
        ("another tenant's name", named(arn(B, "loki"))),
        ("another credential", named(arn(A, "pagerduty"))),
        ("a longer name", named(arn(A, "loki-archive"))),
        (
            "another installation",
            named(arn(A, "loki").replace("/prod/", "/dev/")),
        ),
        (
            "another account",
            named(arn(A, "loki").replace(ACCOUNT, "210987654321")),
        ),
        (
            "another tenant's tag on the secret",
            good().with("secretsmanager:ResourceTag/tenant", &[B]),
        ),
        (
            "no tag on the secret",
            good().without("secretsmanager:ResourceTag/tenant"),
        ),
        (
            "another tenant's session",
            good().with("aws:PrincipalTag/tenant", &[B]),
        ),
        (
            "a session without a tenant",
            good().without("aws:PrincipalTag/tenant"),
        ),
        (
            "a session without a credential",
            good().without("aws:PrincipalTag/credential"),
        ),
        (
            "an old version",
            good().with("secretsmanager:VersionStage", &["AWSPREVIOUS"]),
        ),
        (
            "another role",
            good().with(
                "aws:PrincipalArn",
                &["arn:aws:iam::123456789012:role/admin"],
            ),
        ),
    ] {
        assert!(!decide(&request), "{what}");
    }
    for action in [
        "ListSecrets",
        "BatchGetSecretValue",
        "DescribeSecret",
        "PutSecretValue",
        "PutResourcePolicy",
        "TagResource",
        "UntagResource",
        "UpdateSecret",
        "DeleteSecret",
    ] {
        let request = Request {
            action: format!("secretsmanager:{action}"),
            ..good()
        };
        assert!(!decide(&request), "{action}");
    }
}

#[test]
fn the_name_the_tag_and_the_session_each_hold_alone() {
    let (role, session, resource) = policies(A);
    // No session policy: the token's own tags still leave nothing but the one secret.
    assert!(may(&role, None, &resource, &good()));
    let other = Request {
        resource: arn(A, "pagerduty"),
        ..good()
    };
    assert!(!may(&role, None, &resource, &other));
    // The role alone, on a secret that nobody put a policy on: name and tag must both be the tenant's.
    let open = serde_json::json!({"Version": "2012-10-17", "Statement": []});
    let misfiled = Request {
        resource: arn(A, "loki"),
        ..good().with("secretsmanager:ResourceTag/tenant", &[B])
    };
    let renamed = Request {
        resource: arn(B, "loki"),
        ..good()
    };
    assert!(!may(&role, None, &open, &misfiled) && !may(&role, None, &open, &renamed));
    assert_eq!(says(&session, &renamed), Says::Nothing);
    // The secret's own policy, against a role that may do anything.
    let anything = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    assert!(!may(
        &anything,
        None,
        &resource,
        &good().with("aws:PrincipalTag/tenant", &[B])
    ));
    assert!(!may(
        &anything,
        None,
        &resource,
        &good().without("aws:PrincipalTag/tenant")
    ));
    let retag = Request {
        action: "secretsmanager:TagResource".to_owned(),
        ..good().with("aws:TagKeys", &["tenant"])
    };
    assert!(!may(&anything, None, &resource, &retag));
}

#[test]
fn without_one_of_its_conditions_the_role_would_read_what_it_must_not() {
    let (role, _, _) = policies(A);
    let open = serde_json::json!({"Version": "2012-10-17", "Statement": []});
    let misfiled = good().with("secretsmanager:ResourceTag/tenant", &[B]);
    let mut loose = role.clone();
    loose["Statement"][0]["Condition"]["StringEquals"]
        .as_object_mut()
        .unwrap()
        .remove("secretsmanager:ResourceTag/tenant");
    assert!(!may(&role, None, &open, &misfiled) && may(&loose, None, &open, &misfiled));

    let renamed = Request {
        resource: arn(B, "loki"),
        ..good()
    };
    let mut loose = role.clone();
    loose["Statement"][0]["Resource"] =
        "arn:aws:secretsmanager:*:*:secret:nightshift/prod/t/*".into();
    assert!(!may(&role, None, &open, &renamed) && may(&loose, None, &open, &renamed));
}

#[test]
fn the_role_is_assumed_with_our_word_for_one_tenant_and_not_otherwise() {
    let trust = deployed("tenant-reader-trust.json", "", "");
    let key = |name: &str| format!("{ISSUER}:{name}");
    let good = Request::new("sts:AssumeRoleWithWebIdentity", "")
        .with(&key("aud"), &["sts.amazonaws.com"])
        .with(&key("sub"), &["mcp:telemetry"])
        .with("aws:RequestTag/tenant", &[A])
        .with("aws:RequestTag/run", &["inv_1"])
        .with("aws:RequestTag/credential", &["loki"])
        .with("aws:TagKeys", &["tenant", "run", "credential"]);
    assert_eq!(says(&trust, &good), Says::Allow);
    for (what, request) in [
        (
            "another audience",
            good.clone().with(&key("aud"), &["nightshift:telemetry"]),
        ),
        ("no audience", good.clone().without(&key("aud"))),
        (
            "a run token's subject",
            good.clone().with(&key("sub"), &["run:inv_1"]),
        ),
        ("no tenant", good.clone().without("aws:RequestTag/tenant")),
        (
            "a tenant that is none",
            good.clone().with("aws:RequestTag/tenant", &["*"]),
        ),
        ("no run", good.clone().without("aws:RequestTag/run")),
        (
            "no credential",
            good.clone().without("aws:RequestTag/credential"),
        ),
        (
            "a tag too many",
            good.clone()
                .with("aws:TagKeys", &["tenant", "run", "credential", "admin"]),
        ),
        (
            "another way in",
            Request {
                action: "sts:AssumeRole".to_owned(),
                ..good.clone()
            },
        ),
    ] {
        assert_eq!(says(&trust, &request), Says::Nothing, "{what}");
    }
}

#[test]
fn nothing_is_allowed_by_a_star() {
    for name in [
        "tenant-reader-trust.json",
        "tenant-reader-permissions.json",
        "tenant-secret-session.json",
        "tenant-secret-resource.json",
    ] {
        let policy: Value = serde_json::from_str(&text(name)).unwrap();
        for statement in policy["Statement"].as_array().unwrap() {
            assert!(statement.get("NotAction").is_none() && statement.get("NotResource").is_none());
            assert!(statement.get("NotPrincipal").is_none(), "{name}");
            let sid = statement["Sid"].as_str().unwrap();
            if statement["Effect"] == "Deny" {
                continue;
            }
            for part in ["Action", "Principal"] {
                let shown = statement[part].to_string();
                assert!(
                    !shown.contains('*') && !shown.contains('?'),
                    "{name} {sid}: {shown}"
                );
            }
            // The key's own identity is known to the role; the session only narrows.
            let resource = statement["Resource"].as_str().unwrap_or_default();
            let key_of_the_session = name == "tenant-secret-session.json" && sid == "ItsKey";
            assert!(
                !resource.contains('*') || key_of_the_session,
                "{name} {sid}: {resource}"
            );
            let open = resource.trim_end_matches("-??????");
            assert!(!open.contains('?'), "{name} {sid}: {resource}");
            assert!(
                statement.get("Condition").is_some() || sid == "ThisSecret",
                "{name} {sid}"
            );
        }
    }
}
