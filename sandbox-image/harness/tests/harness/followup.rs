//! After the report: messages from people.

use nightshift_domain::MessageId;
use nightshift_harness::Finish;
use nightshift_protocol::tools::casebook::InboxMessage;
use serde_json::json;

use crate::{
    model_fake::{calls, says},
    world::{World, ordinary_script, report},
};

fn message(text: &str) -> InboxMessage {
    InboxMessage {
        message: MessageId::generate(),
        author: "Ada".to_owned(),
        text: text.to_owned(),
        at: chrono::DateTime::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn a_later_start_answers_the_messages_that_came_meanwhile_one_by_one() {
    let mut script = ordinary_script();
    script.extend([
        calls(&[("c6", "telemetry_query_logs", json!({ "again": true }))]),
        says("Two hundred."),
        says("At noon."),
    ]);
    let world = World::new(script);
    assert_eq!(world.work().await.unwrap(), Finish::Done);
    let (one, two) = (message("How many?"), message("When?"));
    world.fakes.case.lock().unwrap().inbox = vec![one.clone(), two.clone()];

    assert_eq!(world.work().await.unwrap(), Finish::Done);
    let expected = [
        (one.message, "Two hundred.".to_owned()),
        (two.message, "At noon.".to_owned()),
    ];
    assert_eq!(world.fakes.case.lock().unwrap().answers, expected);
    assert_eq!(world.fakes.case.lock().unwrap().submissions, 1);
    assert_eq!(world.violations(), [""; 0]);
    let last = world
        .fakes
        .model
        .requests
        .lock()
        .unwrap()
        .last()
        .cloned()
        .unwrap();
    assert!(format!("{:?}", last.messages.last()).contains("A person asks (Ada): When?"));
}

#[tokio::test]
async fn a_message_that_the_model_answers_itself_is_not_answered_twice() {
    let asked = message("When?");
    let mine = json!({ "message": asked.message, "text": "At noon, says the model." });
    let world = World::new(vec![
        calls(&[("c1", "casebook_submit_report", report("Found."))]),
        says("Done."),
        calls(&[("c2", "casebook_answer_message", mine)]),
        says("I have answered."),
    ]);
    world.fakes.case.lock().unwrap().inbox = vec![asked.clone()];
    world.work().await.unwrap();
    let answers = world.fakes.case.lock().unwrap().answers.clone();
    assert_eq!(
        answers,
        [(asked.message, "At noon, says the model.".to_owned())]
    );
}

#[tokio::test]
async fn a_question_can_be_asked_after_the_harness_had_to_give_up() {
    // The wall clock strikes while calls are open, so nobody will ever answer them.
    let mut script = ordinary_script();
    script.truncate(2);
    script.push(says("It was noon."));
    let mut world = World::new(script);
    world.brief.limits.wall_seconds = 1;
    let slow = std::time::Duration::from_secs(30);
    world
        .fakes
        .case
        .lock()
        .unwrap()
        .slow
        .insert("query_logs".to_owned(), slow);
    world.work().await.unwrap();
    assert_eq!(world.reports().len(), 1);

    let asked = message("When?");
    world.fakes.case.lock().unwrap().inbox = vec![asked.clone()];
    world.work().await.unwrap();
    assert_eq!(world.violations(), [""; 0]);
    let answers = world.fakes.case.lock().unwrap().answers.clone();
    assert_eq!(answers, [(asked.message, "It was noon.".to_owned())]);
}

#[tokio::test]
async fn a_question_that_cannot_be_worked_out_is_answered_with_that() {
    let mut script = ordinary_script();
    script.extend((0..3).map(|n| {
        calls(&[(
            &format!("q{n}"),
            "telemetry_query_logs",
            json!({ "page": n }),
        )])
    }));
    let mut world = World::new(script);
    world.brief.limits.model_requests = 4;
    let one = message("How many?");
    world.fakes.case.lock().unwrap().inbox = vec![one.clone()];
    world
        .fakes
        .model
        .refusals
        .lock()
        .unwrap()
        .insert(6, (403, vec![], "no budget"));
    assert_eq!(world.work().await.unwrap(), Finish::Done);
    let answers = world.fakes.case.lock().unwrap().answers.clone();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].1.contains("no budget"), "{answers:?}");
    assert_eq!(world.fakes.case.lock().unwrap().submissions, 1);
}
