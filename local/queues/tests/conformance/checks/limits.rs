//! Ranges of attributes and parameters.

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::QueueAttributeName;

use crate::check::{Check, refused};
use crate::peer::Peer;

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        "queue-delay-range",
        "a queue delays 0 to 900 seconds",
        |p| Box::pin(out_of_range(p, "DelaySeconds", &["-1", "901", "soon"])),
    ),
    Check::new(
        "queue-visibility-range",
        "a queue hides messages for 0 s to 12 h",
        |p| Box::pin(out_of_range(p, "VisibilityTimeout", &["-1", "43201"])),
    ),
    Check::new(
        "queue-size-range",
        "a queue takes messages of at most 1 KiB to 1 MiB",
        |p| Box::pin(out_of_range(p, "MaximumMessageSize", &["1023", "1048577"])),
    ),
    Check::new(
        "queue-retention-range",
        "a queue keeps messages for 1 minute to 14 days",
        |p| {
            Box::pin(out_of_range(
                p,
                "MessageRetentionPeriod",
                &["59", "1209601"],
            ))
        },
    ),
    Check::new(
        "queue-wait-range",
        "a queue's receives wait 0 to 20 seconds",
        |p| {
            Box::pin(out_of_range(
                p,
                "ReceiveMessageWaitTimeSeconds",
                &["-1", "21"],
            ))
        },
    ),
    Check::new(
        "fifo-attributes-on-standard",
        "attributes of FIFO queues are unknown to standard queues, even FifoQueue=false",
        |p| Box::pin(fifo_attributes(p)),
    ),
    Check::new(
        "unknown-attribute",
        "an attribute that does not exist, or that cannot be set, is refused",
        |p| Box::pin(unknown_attribute(p)),
    ),
    Check::new(
        "message-delay-range",
        "a message is delayed 0 to 900 seconds",
        |p| Box::pin(message_delay(p)),
    ),
    Check::new(
        "receive-count-range",
        "a receive asks for 1 to 10 messages",
        |p| Box::pin(receive_count(p)),
    ),
    Check::new(
        "receive-wait-range",
        "a receive waits 0 to 20 seconds",
        |p| Box::pin(receive_wait(p)),
    ),
    Check::new(
        "receive-visibility-range",
        "a receive hides messages for 0 s to 12 h",
        |p| Box::pin(receive_visibility(p)),
    ),
    Check::new(
        "change-visibility-range",
        "visibility is changed to 0 s to 12 h",
        |p| Box::pin(change_visibility(p)),
    ),
];

async fn out_of_range(
    peer: &Peer,
    name: &'static str,
    values: &'static [&'static str],
) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for value in values {
        let create = peer.client.create_queue().queue_name(peer.name("bad"));
        let created = create
            .attributes(QueueAttributeName::from(name), *value)
            .send()
            .await;
        refused(created, "InvalidAttributeValue")
            .with_context(|| format!("creating with {name}={value}"))?;
        let set = peer.client.set_queue_attributes().queue_url(&url);
        let set = set
            .attributes(QueueAttributeName::from(name), *value)
            .send()
            .await;
        refused(set, "InvalidAttributeValue").with_context(|| format!("setting {name}={value}"))?;
    }
    Ok(())
}

async fn fifo_attributes(peer: &Peer) -> Result<()> {
    for (name, value) in [
        ("FifoQueue", "false"),
        ("ContentBasedDeduplication", "true"),
        ("DeduplicationScope", "queue"),
    ] {
        let create = peer.client.create_queue().queue_name(peer.name("q"));
        let created = create
            .attributes(QueueAttributeName::from(name), value)
            .send()
            .await;
        refused(created, "InvalidAttributeName").with_context(|| format!("{name}={value}"))?;
    }
    Ok(())
}

async fn unknown_attribute(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for name in ["Colour", "QueueArn"] {
        let set = peer.client.set_queue_attributes().queue_url(&url);
        let set = set
            .attributes(QueueAttributeName::from(name), "1")
            .send()
            .await;
        refused(set, "InvalidAttributeName").with_context(|| format!("setting {name}"))?;
    }
    let asked = peer.client.get_queue_attributes().queue_url(&url);
    let asked = asked
        .attribute_names(QueueAttributeName::from("Colour"))
        .send()
        .await;
    refused(asked, "InvalidAttributeName").context("asking for Colour")
}

async fn message_delay(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for seconds in [-1, 901] {
        let send = peer.client.send_message().queue_url(&url).message_body("a");
        let sent = send.delay_seconds(seconds).send().await;
        refused(sent, "InvalidParameterValue").with_context(|| format!("{seconds} s"))?;
    }
    let longest = peer.client.send_message().queue_url(&url).message_body("a");
    longest.delay_seconds(900).send().await?;
    Ok(())
}

async fn receive_count(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    for count in [0, 11] {
        let receive = peer.client.receive_message().queue_url(&url);
        let received = receive.max_number_of_messages(count).send().await;
        refused(received, "InvalidParameterValue").with_context(|| format!("{count} messages"))?;
    }
    Ok(())
}

async fn receive_wait(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let receive = peer.client.receive_message().queue_url(&url);
    refused(
        receive.wait_time_seconds(21).send().await,
        "InvalidParameterValue",
    )
}

async fn receive_visibility(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    let receive = peer.client.receive_message().queue_url(&url);
    refused(
        receive.visibility_timeout(43_201).send().await,
        "InvalidParameterValue",
    )
}

async fn change_visibility(peer: &Peer) -> Result<()> {
    let url = peer.queue("q", &[]).await?;
    peer.send(&url, "a").await?;
    let message = peer.receive_one(&url).await?;
    let change = peer.client.change_message_visibility().queue_url(&url);
    let change = change.receipt_handle(message.receipt_handle().unwrap_or_default());
    refused(
        change.visibility_timeout(43_201).send().await,
        "InvalidParameterValue",
    )
}
