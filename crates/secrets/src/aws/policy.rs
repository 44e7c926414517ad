//! The session policy: of all that the role may do, this one secret.

use serde_json::json;

use super::Place;

/// The session policy for one secret, as `infra/policies/tenant-secret-session.json` spells it. STS grants what both
/// it and the role's own policy allow.
#[must_use]
pub fn session_policy(place: &Place, secret: &str) -> String {
    let Place {
        region, account, ..
    } = place;
    // Secrets Manager appends a hyphen and six characters to the name.
    let arn = format!("arn:aws:secretsmanager:{region}:{account}:secret:{secret}-??????");
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ThisSecret",
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": arn,
            },
            {
                "Sid": "ItsKey",
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": format!("arn:aws:kms:{region}:{account}:key/*"),
                "Condition": {
                    "StringEquals": {"kms:ViaService": format!("secretsmanager.{region}.amazonaws.com")},
                    "StringLike": {"kms:EncryptionContext:SecretARN": arn},
                },
            },
        ],
    })
    .to_string()
}
