//! Reads what was written by the rules of the format.

use super::*;

struct At(DateTime<Utc>);

impl Clock for At {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

fn written(put: impl FnOnce(&Metrics)) -> Vec<Value> {
    let out = Arc::new(Mutex::new(Vec::<u8>::new()));
    let clock = Arc::new(At(DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000)));
    put(&Metrics::to("claim", clock, out.clone()));
    let text = String::from_utf8(out.lock().unwrap().clone()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What the specification demands of a root node.
fn check(root: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members = root.as_object().unwrap();
    let about = &root["_aws"];
    assert_eq!(about.as_object().unwrap().len(), 2);
    assert_eq!(about["Timestamp"], 1_728_000_000_000_i64);
    for directive in about["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive.as_object().unwrap().len(), 3);
        assert!((1..=1024).contains(&text(&directive["Namespace"]).len()));
        for set in directive["Dimensions"].as_array().unwrap() {
            assert!(set.as_array().unwrap().len() <= 30);
            for name in set.as_array().unwrap() {
                let value = text(&members[name.as_str().unwrap()]);
                assert!(
                    (1..=1024).contains(&value.len()),
                    "{name} is a text of the root"
                );
            }
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            assert!(["Milliseconds", "Count"].contains(&text(&metric["Unit"]).as_str()));
            let value = &members[metric["Name"].as_str().unwrap()];
            if let Value::Array(values) = value {
                assert!((1..=100).contains(&values.len()));
                assert!(values.iter().all(Value::is_number));
            } else {
                assert!(value.is_number(), "{value}");
            }
        }
    }
}

#[test]
fn every_line_keeps_the_rules_of_the_format() {
    let metrics = [
        Metric::ClaimWait,
        Metric::PoolReady,
        Metric::OutboxLag,
        Metric::StepAge,
        Metric::DeadLetters,
    ];
    for metric in metrics {
        for count in [1, 2, 100] {
            let lines = written(|out| out.put(metric, ("step", "dispatch"), &vec![1.5; count]));
            assert_eq!(lines.len(), 1);
            lines.iter().for_each(check);
        }
    }
}

#[test]
fn more_values_than_a_line_may_hold_are_several_lines_and_none_is_lost() {
    let values: Vec<f64> = (0..250).map(f64::from).collect();
    let lines = written(|out| out.put(Metric::ClaimWait, ("pool", "p"), &values));
    lines.iter().for_each(check);
    let read: Vec<f64> = lines
        .iter()
        .flat_map(|line| line["ClaimWait"].as_array().unwrap())
        .map(|value| value.as_f64().unwrap())
        .collect();
    assert_eq!((lines.len(), read), (3, values));
}

#[test]
fn no_value_is_no_line_and_a_span_backwards_is_none() {
    assert!(written(|out| out.put(Metric::StepAge, ("step", "rest"), &[])).is_empty());
    assert!(milliseconds(chrono::TimeDelta::seconds(-5)).abs() < f64::EPSILON);
    assert!((milliseconds(chrono::TimeDelta::microseconds(2_500)) - 2.5).abs() < 1e-9);
}
