//! Parses `metrics.csv`: one sample a line, the same instants and series over and over.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::ndjson::Names;
use crate::model::{RawSeries, Sample, SeriesKey};

/// Every series in order of its key, and how many lines were no samples.
pub(super) fn series(text: &str, names: &mut Names) -> (Vec<RawSeries>, usize) {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut all: Vec<RawSeries> = Vec::new();
    let mut last_instant: Option<(&str, DateTime<Utc>)> = None;
    let mut skipped = 0;
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let parsed = split(line).and_then(|(at, identity, value)| {
            let at = match last_instant {
                Some((text, instant)) if text == at => instant,
                _ => DateTime::parse_from_rfc3339(at).ok()?.to_utc(),
            };
            Some((at, identity, value))
        });
        let Some((at, identity, value)) = parsed else {
            skipped += 1;
            continue;
        };
        last_instant = line.split_once(',').map(|(text, _)| (text, at));
        let place = if let Some(place) = places.get(identity) {
            *place
        } else if let Some(key) = key(identity, names) {
            all.push(RawSeries {
                key: Arc::new(key),
                samples: Vec::new(),
            });
            places.insert(identity, all.len() - 1);
            all.len() - 1
        } else {
            skipped += 1;
            continue;
        };
        all[place].samples.push(Sample { at, value });
    }
    for series in &mut all {
        series.samples.sort_by_key(|sample| sample.at);
    }
    all.sort_by(|a, b| a.key.cmp(&b.key));
    (all, skipped)
}

/// Time, `service,metric,labels`, value.
fn split(line: &str) -> Option<(&str, &str, f64)> {
    let (at, rest) = line.split_once(',')?;
    let (identity, value) = rest.rsplit_once(',')?;
    let value: f64 = value.trim().parse().ok()?;
    value.is_finite().then_some((at, identity, value))
}

fn key(identity: &str, names: &mut Names) -> Option<SeriesKey> {
    let mut parts = identity.splitn(3, ',');
    let (service, metric, labels) = (parts.next()?, parts.next()?, parts.next()?);
    // A label with a comma in it makes its writer put quotes around the field.
    let labels = labels.trim().trim_matches('"');
    Some(SeriesKey {
        service: names.keep(service),
        metric: names.keep(metric),
        labels: labels
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Names, series};

    #[test]
    fn samples_of_one_series_come_together_in_order_of_time() {
        let text = "at,service,metric,labels,value\n\
            2026-03-01T10:00:05Z,shop,hits_total,route=/a;status=200,7\n\
            2026-03-01T10:00:00Z,shop,hits_total,route=/a;status=200,3\n\
            2026-03-01T10:00:00Z,shop,free_slots,,1.5\n\
            2026-03-01T10:00:00Z,shop,free_slots,,NaN\n\
            nonsense\n";
        let (all, skipped) = series(text, &mut Names::default());

        assert_eq!(skipped, 2);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].key.metric.as_ref(), "free_slots");
        assert!(all[0].key.labels.is_empty());
        let values: Vec<f64> = all[1].samples.iter().map(|sample| sample.value).collect();
        assert_eq!(values, [3.0, 7.0]);
        assert_eq!(all[1].key.labels["route"], "/a");
    }

    #[test]
    fn a_quoted_label_field_may_hold_a_comma() {
        let text = "at,service,metric,labels,value\n2026-03-01T10:00:00Z,a,m,\"q=x,y\",1\n";
        let (all, skipped) = series(text, &mut Names::default());

        assert_eq!(skipped, 0);
        assert_eq!(all[0].key.labels["q"], "x,y");
    }
}
