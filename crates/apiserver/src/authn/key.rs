//! The key that signs service-account tokens: ES256 (RFC 7518 section 3.4), kept in `DIR/pki/sa.key`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rcgen::{KeyPair, PublicKeyData};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// Why a key cannot be used; one sentence.
#[derive(Debug, thiserror::Error)]
#[error("the key of service-account tokens cannot be used: {0}")]
pub struct KeyError(String);

/// Signs tokens and knows its own again.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    /// Names the key: upstream's hash of the public key.
    id: String,
    random: SystemRandom,
}

impl TokenKey {
    /// A key that nobody keeps: its tokens are good for as long as this process lives.
    ///
    /// # Errors
    /// When the machine has no chance to give.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_pem(&Self::new_pem()?)
    }

    /// A new key as PKCS#8 in PEM.
    pub(crate) fn new_pem() -> Result<String, KeyError> {
        KeyPair::generate().map(|key| key.serialize_pem()).map_err(|error| KeyError(error.to_string()))
    }

    /// The key in a PEM text.
    ///
    /// # Errors
    /// When it holds no P-256 key.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = KeyPair::from_pem(pem).map_err(|error| KeyError(error.to_string()))?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random)
            .map_err(|error| KeyError(error.to_string()))?;
        let id = BASE64.encode(digest::digest(&digest::SHA256, &key.subject_public_key_info()));
        Ok(Self { pair, id, random })
    }

    /// A token that says this (RFC 7515 section 7.1).
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let signed = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes());
        let signature = signature.map_err(|_| KeyError("the machine has no chance to give".to_owned()))?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// What a token says that this key has signed; `None` for any other text.
    pub(crate) fn open(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        if header["alg"] != "ES256" {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key());
        public.verify(signed.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    /// The public key as a JSON Web Key Set (RFC 7517).
    pub(crate) fn key_set(&self) -> Value {
        // An uncompressed point: 4, then both coordinates (SEC 1 section 2.3.3).
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": BASE64.encode(x), "y": BASE64.encode(y)}]})
    }
}

fn encoded(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_its_own_tokens_and_no_others() {
        let (key, other) = (TokenKey::generate().unwrap(), TokenKey::generate().unwrap());
        let claims = json!({"sub": "somebody"});
        let token = key.sign(&claims).unwrap();
        assert_eq!(key.open(&token), Some(claims.clone()));
        assert_eq!(other.open(&token), None);
        let parts: Vec<&str> = token.split('.').collect();
        let forged = format!("{}.{}.{}", parts[0], encoded(&json!({"sub": "admin"})), parts[2]);
        let unsigned = format!("{}.{}.", encoded(&json!({"alg": "none"})), parts[1]);
        for bad in [forged.as_str(), unsigned.as_str(), parts[1], "", "a.b.c", "...."] {
            assert_eq!(key.open(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_is_the_same_after_it_was_written_down() {
        let pem = TokenKey::new_pem().unwrap();
        let (first, again) = (TokenKey::from_pem(&pem).unwrap(), TokenKey::from_pem(&pem).unwrap());
        assert_eq!(first.key_set(), again.key_set());
        assert!(again.open(&first.sign(&json!({"a": 1})).unwrap()).is_some());
        assert!(TokenKey::from_pem("no key").is_err());
    }
}
