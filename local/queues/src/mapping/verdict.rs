//! What a function's answer says about its batch.

use std::collections::BTreeSet;

use serde_json::Value;

/// Reads an answer with `batchItemFailures`: the ids that failed. `Err` is a batch that failed as a
/// whole, and why.
///
/// As Lambda documents it: no answer, no list and an empty list are success; an answer that is no JSON,
/// an empty or missing id, and an id that is not of the batch fail all of it.
pub(super) fn failed_ids<'a>(
    answer: &[u8],
    batch: &BTreeSet<&'a str>,
) -> Result<BTreeSet<&'a str>, String> {
    if answer.is_empty() {
        return Ok(BTreeSet::new());
    }
    let answer: Value = serde_json::from_slice(answer)
        .map_err(|error| format!("the answer is no JSON: {error}"))?;
    let list = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("batchItemFailures is no list".to_owned()),
    };
    let mut failed = BTreeSet::new();
    for item in list {
        let id = item
            .get("itemIdentifier")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match batch.get(id) {
            Some(id) => failed.insert(*id),
            None if id.is_empty() => return Err("an item has no identifier".to_owned()),
            None => return Err(format!("`{id}` is not of the batch")),
        };
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> Result<Vec<&'static str>, String> {
        let batch = BTreeSet::from(["a", "b", "c"]);
        Ok(failed_ids(answer.as_bytes(), &batch)?.into_iter().collect())
    }

    #[test]
    fn nothing_null_and_an_empty_list_are_success() {
        for answer in [
            "",
            "null",
            "{}",
            r#"{"batchItemFailures": null}"#,
            r#"{"batchItemFailures": []}"#,
            r#""done""#,
        ] {
            assert_eq!(read(answer), Ok(vec![]), "{answer}");
        }
    }

    #[test]
    fn the_named_ones_failed() {
        let answer = r#"{"batchItemFailures": [{"itemIdentifier": "c"}, {"itemIdentifier": "a"}]}"#;
        assert_eq!(read(answer), Ok(vec!["a", "c"]));
    }

    #[test]
    fn a_malformed_answer_and_an_unknown_id_fail_the_whole_batch() {
        for (answer, why) in [
            ("{", "no JSON"),
            (r#"{"batchItemFailures": {}}"#, "no list"),
            (
                r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#,
                "no identifier",
            ),
            (
                r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#,
                "no identifier",
            ),
            (
                r#"{"batchItemFailures": [{"itemId": "a"}]}"#,
                "no identifier",
            ),
            (
                r#"{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "z"}]}"#,
                "`z`",
            ),
        ] {
            let error = read(answer).unwrap_err();
            assert!(error.contains(why), "{answer}: {error}");
        }
    }
}
