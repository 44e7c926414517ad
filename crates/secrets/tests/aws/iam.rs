//! How IAM decides, as far as our policies go. What it does not know it refuses to judge.
//!
//! "Policy evaluation logic", "Condition operators" and "Set operators" in the IAM user guide.

use std::collections::BTreeMap;

use serde_json::Value;

/// A request and what is known of it; a key without a value is not in the map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) context: BTreeMap<String, Vec<String>>,
}

impl Request {
    pub(crate) fn new(action: &str, resource: &str) -> Self {
        Self {
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: BTreeMap::new(),
        }
    }

    pub(crate) fn with(mut self, key: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        self.context.insert(key.to_lowercase(), values);
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.context.remove(&key.to_lowercase());
        self
    }
}

/// What one policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Allow,
    Deny,
    Nothing,
}

/// Whether a role's session may: some policy of the role allows, the session policy allows where there is one, and
/// nothing denies.
pub(crate) fn may(
    role: &Value,
    session: Option<&Value>,
    resource: &Value,
    request: &Request,
) -> bool {
    let all = [Some(role), session, Some(resource)];
    let said = |policy: &Value| says(policy, request);
    if all
        .iter()
        .flatten()
        .any(|policy| said(policy) == Says::Deny)
    {
        return false;
    }
    said(role) == Says::Allow && session.is_none_or(|session| said(session) == Says::Allow)
}

/// What a policy says of a request.
pub(crate) fn says(policy: &Value, request: &Request) -> Says {
    assert_eq!(
        policy["Version"], "2012-10-17",
        "variables need this version"
    );
    let mut said = Says::Nothing;
    for statement in policy["Statement"].as_array().unwrap() {
        if !applies(statement, request) {
            continue;
        }
        match statement["Effect"].as_str().unwrap() {
            "Deny" => return Says::Deny,
            "Allow" => said = Says::Allow,
            effect => panic!("{effect}"),
        }
    }
    said
}

fn applies(statement: &Value, request: &Request) -> bool {
    for key in statement.as_object().unwrap().keys() {
        let known = [
            "Sid",
            "Effect",
            "Principal",
            "Action",
            "Resource",
            "Condition",
        ];
        assert!(known.contains(&key.as_str()), "{key} is not understood");
    }
    let action = texts(&statement["Action"])
        .iter()
        .any(|action| like(&literal(action), &request.action));
    let resource = statement.get("Resource").is_none_or(|resource| {
        texts(resource).iter().any(|resource| {
            filled(resource, request).is_some_and(|it| like(&it, &request.resource))
        })
    });
    action && resource && conditions_hold(&statement["Condition"], request)
}

fn conditions_hold(conditions: &Value, request: &Request) -> bool {
    let Some(conditions) = conditions.as_object() else {
        return true;
    };
    conditions.iter().all(|(operator, keys)| {
        keys.as_object().unwrap().iter().all(|(key, wanted)| {
            let given = request.context.get(&key.to_lowercase()).map(Vec::as_slice);
            holds(operator, given, &texts(wanted), request)
        })
    })
}

fn holds(operator: &str, given: Option<&[String]>, wanted: &[String], request: &Request) -> bool {
    // A variable without a value compares with nothing.
    let wanted: Vec<Vec<Piece>> = wanted.iter().filter_map(|it| filled(it, request)).collect();
    let equals = |value: &String| wanted.iter().any(|it| plain(it) == *value);
    let resembles = |value: &String| wanted.iter().any(|it| like(it, value));
    let single = |given: &[String]| {
        assert_eq!(given.len(), 1, "a key of many values needs a set operator");
        given[0].clone()
    };
    match operator {
        "StringEquals" => given.is_some_and(|given| equals(&single(given))),
        "StringLike" => given.is_some_and(|given| resembles(&single(given))),
        // What is not there is not equal.
        "StringNotEquals" | "ArnNotEquals" => given.is_none_or(|given| !equals(&single(given))),
        "Null" => given.is_none() == (plain(&wanted[0]) == "true"),
        // Of nothing everything is true.
        "ForAllValues:StringEquals" => given.is_none_or(|given| given.iter().all(equals)),
        "ForAnyValue:StringEquals" => given.is_some_and(|given| given.iter().any(equals)),
        other => panic!("{other} is not understood"),
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            panic!("{value} is not a text")
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Exactly(char),
    AnyOne,
    AnyMany,
}

fn literal(pattern: &str) -> Vec<Piece> {
    let piece = |letter| match letter {
        '?' => Piece::AnyOne,
        '*' => Piece::AnyMany,
        letter => Piece::Exactly(letter),
    };
    pattern.chars().map(piece).collect()
}

/// A pattern with its variables filled in; what comes out of a variable stands for itself.
fn filled(pattern: &str, request: &Request) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, left) = after.split_once('}').unwrap();
        let value = request.context.get(&variable.to_lowercase())?;
        assert_eq!(value.len(), 1, "{variable} has many values");
        pieces.extend(literal(before));
        pieces.extend(value[0].chars().map(Piece::Exactly));
        rest = left;
    }
    pieces.extend(literal(rest));
    Some(pieces)
}

fn plain(pieces: &[Piece]) -> String {
    let letter = |piece: &Piece| match piece {
        Piece::Exactly(letter) => *letter,
        Piece::AnyOne => '?',
        Piece::AnyMany => '*',
    };
    pieces.iter().map(letter).collect()
}

fn like(pattern: &[Piece], text: &str) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((Piece::AnyMany, rest)) => {
            let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            starts.any(|at| like(rest, &text[at..]))
        }
        Some((piece, rest)) => text.chars().next().is_some_and(|letter| {
            (*piece == Piece::AnyOne || *piece == Piece::Exactly(letter))
                && like(rest, &text[letter.len_utf8()..])
        }),
    }
}

#[test]
fn what_is_absent_is_judged_as_iam_judges_it() {
    let request = Request::new("s:Get", "arn").with("here", &["a"]);
    let wanted = ["a".to_owned()];
    let given = |key: &str| request.context.get(key).map(Vec::as_slice);
    for (operator, here, absent) in [
        ("StringEquals", true, false),
        ("StringLike", true, false),
        ("StringNotEquals", false, true),
        ("ForAllValues:StringEquals", true, true),
        ("ForAnyValue:StringEquals", true, false),
    ] {
        assert_eq!(
            holds(operator, given("here"), &wanted, &request),
            here,
            "{operator}"
        );
        assert_eq!(
            holds(operator, given("absent"), &wanted, &request),
            absent,
            "{operator}"
        );
    }
}

#[test]
fn a_star_that_comes_out_of_a_variable_is_a_star_and_no_pattern() {
    let request = Request::new("s:Get", "arn").with("aws:PrincipalTag/tenant", &["*"]);
    let pattern = filled("t/${aws:PrincipalTag/tenant}/x-??", &request).unwrap();
    assert!(like(&pattern, "t/*/x-ab"));
    assert!(!like(&pattern, "t/b/x-ab") && !like(&pattern, "t/*/x-abc"));
    assert!(filled("${aws:PrincipalTag/other}", &request).is_none());
}
