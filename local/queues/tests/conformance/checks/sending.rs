//! Sending single messages.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName};
use md5::{Digest as _, Md5};

use crate::check::{Check, refused};
use crate::peer::{Peer, system};

const MIB: usize = 1_048_576;

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "body-is-required",
        "a message has at least one character",
        |p| Box::pin(body_is_required(p)),
    ),
    Check::new(
        "body-characters",
        "a message holds the characters of XML 1.0 and no others",
        |p| Box::pin(characters(p)),
    ),
    Check::new("largest-message", "a message is at most 1 MiB", |p| {
        Box::pin(largest(p))
    }),
    Check::new(
        "attributes-count-as-size",
        "names, types and values of attributes count as part of the message",
        |p| Box::pin(attributes_count(p)),
    ),
    Check::new(
        "queue-size-limit",
        "a queue refuses messages larger than it was told to take",
        |p| Box::pin(queue_limit(p)),
    ),
    Check::new(
        "body-md5",
        "the answer carries the MD5 of the body, and so does the message",
        |p| Box::pin(body_md5(p)),
    ),
    Check::new(
        "attributes-md5",
        "the answer carries the MD5 of the attributes' documented encoding",
        |p| Box::pin(attributes_md5(p)),
    ),
    Check::new(
        "attribute-count",
        "a message has at most 10 attributes",
        |p| Box::pin(attribute_count(p)),
    ),
    Check::new(
        "attribute-names",
        "names of attributes do not begin with AWS. or a period",
        |p| Box::pin(attribute_names(p)),
    ),
    Check::new(
        "attribute-types",
        "an attribute is a String, a Number or a Binary, and not empty",
        |p| Box::pin(attribute_types(p)),
    ),
    Check::new(
        "queue-delay",
        "a delayed queue's messages show after the delay",
        |p| Box::pin(queue_delay(p)),
    ),
    Check::new(
        "message-delay-wins",
        "a message's own delay replaces the queue's",
        |p| Box::pin(message_delay_wins(p)),
    ),
    Check::new(
        "fair-queue-group",
        "a standard queue takes a message group id and returns it",
        |p| Box::pin(fair_group(p)),
    ),
    Check::new(
        "deduplication-id-on-standard",
        "a standard queue refuses a deduplication id",
        |p| Box::pin(deduplication_on_standard(p)),
    ),
];

async fn body_is_required(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    refused(
        peer.client
            .send_message()
            .queue_url(url)
            .message_body("")
            .send()
            .await,
        "MissingParameter",
    )
}

async fn characters(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "tab\t newline\n umlaut ü emoji 🌙").await?;
    for body in ["null \u{0}", "bell \u{7}", "not a character \u{fffe}"] {
        let sent = peer
            .client
            .send_message()
            .queue_url(&url)
            .message_body(body)
            .send()
            .await;
        refused(sent, "InvalidMessageContents").with_context(|| format!("{body:?}"))?;
    }
    Ok(())
}

async fn largest(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, &"x".repeat(MIB)).await?;
    let sent = peer
        .client
        .send_message()
        .queue_url(url)
        .message_body("x".repeat(MIB + 1))
        .send()
        .await;
    refused(sent, "InvalidParameterValue")
}

async fn attributes_count(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("MaximumMessageSize", "1024")]).await?;
    let send = |body: usize| {
        peer.client
            .send_message()
            .queue_url(&url)
            .message_body("x".repeat(body))
    };
    // "name" + "String" + "12345" are 15 bytes.
    send(1_009)
        .message_attributes("name", string("12345")?)
        .send()
        .await?;
    let sent = send(1_010)
        .message_attributes("name", string("12345")?)
        .send()
        .await;
    refused(sent, "InvalidParameterValue")
}

async fn queue_limit(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("MaximumMessageSize", "1024")]).await?;
    peer.send(&url, &"x".repeat(1_024)).await?;
    let sent = peer
        .client
        .send_message()
        .queue_url(url)
        .message_body("x".repeat(1_025))
        .send()
        .await;
    refused(sent, "InvalidParameterValue")
}

async fn body_md5(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let expected = hex::encode(Md5::digest("a step".as_bytes()));
    let sent = peer
        .client
        .send_message()
        .queue_url(&url)
        .message_body("a step")
        .send()
        .await?;
    ensure!(sent.md5_of_message_body() == Some(&expected), "{sent:?}");
    let received = peer.receive_one(&url).await?;
    ensure!(received.md5_of_body() == Some(&expected), "{received:?}");
    Ok(())
}

async fn attributes_md5(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let mut encoded = Vec::new();
    for (name, kind, marker, value) in [
        ("count", "Number", 1_u8, "42"),
        ("trace", "String", 1, "00-ab"),
    ] {
        for part in [name, kind] {
            encoded.extend(u32::try_from(part.len())?.to_be_bytes());
            encoded.extend(part.as_bytes());
        }
        encoded.push(marker);
        encoded.extend(u32::try_from(value.len())?.to_be_bytes());
        encoded.extend(value.as_bytes());
    }
    let number = MessageAttributeValue::builder()
        .data_type("Number")
        .string_value("42")
        .build()?;
    let send = peer.client.send_message().queue_url(&url).message_body("a");
    let sent = send
        .message_attributes("trace", string("00-ab")?)
        .message_attributes("count", number)
        .send()
        .await?;
    let expected = hex::encode(Md5::digest(&encoded));
    ensure!(
        sent.md5_of_message_attributes() == Some(&expected),
        "{sent:?}"
    );
    let received = peer.receive_one(&url).await?;
    ensure!(
        received.md5_of_message_attributes() == Some(&expected),
        "{received:?}"
    );
    let trace = received
        .message_attributes()
        .and_then(|all| all.get("trace")?.string_value());
    ensure!(trace == Some("00-ab"), "{received:?}");
    Ok(())
}

async fn attribute_count(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let mut send = peer.client.send_message().queue_url(url).message_body("a");
    for index in 0..11 {
        send = send.message_attributes(format!("n{index}"), string("v")?);
    }
    refused(send.send().await, "InvalidParameterValue")
}

async fn attribute_names(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for name in ["AWS.trace", "amazon.x", ".dot", "two..dots", "sp ace"] {
        let send = peer.client.send_message().queue_url(&url).message_body("a");
        let sent = send.message_attributes(name, string("v")?).send().await;
        refused(sent, "InvalidParameterValue").with_context(|| format!("{name:?}"))?;
    }
    Ok(())
}

async fn attribute_types(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for (kind, value) in [("Text", "v"), ("String", ""), ("Number", "many")] {
        let attribute = MessageAttributeValue::builder()
            .data_type(kind)
            .string_value(value)
            .build()?;
        let send = peer.client.send_message().queue_url(&url).message_body("a");
        let sent = send.message_attributes("name", attribute).send().await;
        refused(sent, "InvalidParameterValue").with_context(|| format!("{kind} {value:?}"))?;
    }
    Ok(())
}

async fn queue_delay(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("DelaySeconds", "2")]).await?;
    peer.send(&url, "a").await?;
    ensure!(
        peer.receive(&url, 1).await?.is_empty(),
        "received during the delay"
    );
    let delayed = peer
        .attribute(&url, "ApproximateNumberOfMessagesDelayed")
        .await?;
    ensure!(delayed == "1", "{delayed} delayed");
    peer.pass(2).await;
    peer.receive_one(&url).await?;
    Ok(())
}

async fn message_delay_wins(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[("DelaySeconds", "900")]).await?;
    peer.client
        .send_message()
        .queue_url(&url)
        .message_body("a")
        .delay_seconds(0)
        .send()
        .await?;
    peer.receive_one(&url).await?;
    Ok(())
}

async fn fair_group(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.client
        .send_message()
        .queue_url(&url)
        .message_body("a")
        .message_group_id("tenant-1")
        .send()
        .await?;
    let message = peer.receive_one(&url).await?;
    let group = system(&message, &MessageSystemAttributeName::MessageGroupId);
    ensure!(group == "tenant-1", "{message:?}");
    Ok(())
}

async fn deduplication_on_standard(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let send = peer.client.send_message().queue_url(url).message_body("a");
    refused(
        send.message_deduplication_id("d").send().await,
        "InvalidParameterValue",
    )
}

fn string(value: &str) -> Result<MessageAttributeValue> {
    Ok(MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()?)
}
