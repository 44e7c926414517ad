//! The sender's attributes of a message: which are taken, what they weigh, and the digest by which
//! an SDK checks that they arrived.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::refusal::{Code, Refusal};

/// One attribute, in the form of the JSON protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MessageAttributeValue {
    /// `String`, `Number` or `Binary`, with an optional label (`Number.int`).
    pub data_type: String,
    /// The value of a string or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value of a binary, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
    /// Never supported by the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub string_list_values: Vec<String>,
    /// Never supported by the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binary_list_values: Vec<String>,
}

/// Attributes by name.
pub type MessageAttributes = BTreeMap<String, MessageAttributeValue>;

/// The hexadecimal MD5 of a text.
pub(crate) fn text_md5(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// The digest of the attributes, none without attributes: sorted by name, each as length and bytes
/// of name and type, a byte for the kind of value, length and bytes of the value.
pub(crate) fn md5(attributes: &MessageAttributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    for (name, value) in attributes {
        part(&mut digest, name.as_bytes());
        part(&mut digest, value.data_type.as_bytes());
        digest.update([if value.is_binary() { 2 } else { 1 }]);
        part(&mut digest, &value.bytes());
    }
    Some(hex::encode(digest.finalize()))
}

/// What they add to a message's size: names, types and values.
pub(crate) fn bytes(attributes: &MessageAttributes) -> usize {
    attributes
        .iter()
        .map(|(name, value)| name.len() + value.data_type.len() + value.bytes().len())
        .sum()
}

/// Those whose name was asked for: `All`, `.*`, a name, or a prefix followed by `.*`.
pub(crate) fn selected(attributes: &MessageAttributes, names: &[String]) -> MessageAttributes {
    attributes
        .iter()
        .filter(|(name, _)| names.iter().any(|asked| is_asked(name, asked)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether a queue takes them.
pub(crate) fn check(attributes: &MessageAttributes) -> Result<(), Refusal> {
    if attributes.len() > limits::MESSAGE_ATTRIBUTES {
        return Err(Code::InvalidParameterValue.because(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{}].",
            attributes.len(),
            limits::MESSAGE_ATTRIBUTES
        )));
    }
    for (name, value) in attributes {
        if !is_name(name) {
            return Err(Code::InvalidParameterValue.because(format!(
                "The message attribute name '{name}' is invalid. Attribute name can contain A-Z, \
                 a-z, 0-9, underscore (_), hyphen (-), and period (.) characters."
            )));
        }
        value.check(name)?;
    }
    Ok(())
}

impl MessageAttributeValue {
    /// A string.
    pub fn string(value: impl Into<String>) -> Self {
        Self {
            data_type: "String".to_owned(),
            string_value: Some(value.into()),
            ..Self::default()
        }
    }

    fn kind(&self) -> &str {
        self.data_type.split('.').next().unwrap_or_default()
    }

    fn is_binary(&self) -> bool {
        self.kind() == "Binary"
    }

    fn bytes(&self) -> Vec<u8> {
        if self.is_binary() {
            let text = self.binary_value.as_deref().unwrap_or_default();
            STANDARD.decode(text).unwrap_or_default()
        } else {
            self.string_value.clone().unwrap_or_default().into_bytes()
        }
    }

    fn check(&self, name: &str) -> Result<(), Refusal> {
        if !self.string_list_values.is_empty() || !self.binary_list_values.is_empty() {
            return Err(Code::UnsupportedOperation.because(
                "Message attribute list values in SendMessage operation are not supported.",
            ));
        }
        if self.data_type.is_empty() || self.data_type.len() > 256 {
            return Err(invalid(
                name,
                "must contain a non-empty message attribute type of at most 256 characters",
            ));
        }
        let is_number = match self.kind() {
            "String" | "Binary" => false,
            "Number" => true,
            other => {
                return Err(invalid(
                    name,
                    &format!(
                        "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String: {other}"
                    ),
                ));
            }
        };
        let other_value = if self.is_binary() {
            &self.string_value
        } else {
            &self.binary_value
        };
        if other_value.is_some() || self.bytes().is_empty() {
            return Err(invalid(
                name,
                &format!(
                    "must contain a non-empty message attribute value for message attribute type '{}'",
                    self.kind()
                ),
            ));
        }
        let number = self.string_value.as_deref().unwrap_or_default();
        if is_number && number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(());
        }
        if is_number {
            return Err(invalid(name, "can't cast the value to a number"));
        }
        Ok(())
    }
}

fn invalid(name: &str, what: &str) -> Refusal {
    Code::InvalidParameterValue.because(format!("The message attribute '{name}' {what}."))
}

fn part(digest: &mut Md5, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    digest.update(length.to_be_bytes());
    digest.update(bytes);
}

fn is_asked(name: &str, asked: &str) -> bool {
    asked == "All"
        || asked == name
        || asked
            .strip_suffix(".*")
            .is_some_and(|prefix| name.starts_with(prefix))
}

fn is_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    !name.is_empty()
        && name.len() <= 256
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_covers_name_type_kind_and_value() {
        let one = |value: MessageAttributeValue| {
            md5(&BTreeMap::from([("trace".to_owned(), value)])).unwrap()
        };
        let mut bytes = Vec::new();
        for part in ["trace", "String"] {
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes.push(1);
        bytes.extend(2_u32.to_be_bytes());
        bytes.extend(b"42");
        assert_eq!(
            one(MessageAttributeValue::string("42")),
            hex::encode(Md5::digest(&bytes))
        );
        let number = MessageAttributeValue {
            data_type: "Number".to_owned(),
            ..MessageAttributeValue::string("42")
        };
        assert_ne!(one(number), one(MessageAttributeValue::string("42")));
    }
}
