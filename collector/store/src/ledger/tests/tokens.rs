//! Tokens.

use evidence_format::digest::Digest;

use crate::ledger::{Ledger, LedgerError, TokenRow};
use crate::testing::{at, declare, incident};
use domain::token::{TokenId, TokenRole};

fn token(number: u8, created_at: i64) -> TokenRow {
    TokenRow {
        id: TokenId::from_random([number; 8]),
        secret_digest: Digest::of(&[number]),
        role: TokenRole::Owner,
        label: "Zoë's \"laptop\"".to_owned(),
        incident: None,
        created_at: at(created_at),
        expires_at: at(created_at + 100),
        revoked_at: None,
    }
}

pub(super) async fn token_is_stored_unchanged(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let first = token(1, 0);
    let scoped = TokenRow {
        incident: Some(id),
        role: TokenRole::Auditor,
        ..token(2, 5)
    };
    for token in [&first, &scoped, &first] {
        ledger.add_token(token).await.expect("a database");
    }
    assert_eq!(
        ledger.tokens().await.expect("a database"),
        [scoped.clone(), first.clone()]
    );
    assert_eq!(
        ledger.token(&scoped.id).await.expect("a database"),
        Some(scoped)
    );
    assert_eq!(
        ledger
            .token(&TokenId::from_random([9; 8]))
            .await
            .expect("a database"),
        None
    );
    let other = TokenRow {
        role: TokenRole::Admin,
        ..first.clone()
    };
    assert!(matches!(
        ledger.add_token(&other).await,
        Err(LedgerError::TokenExists(_))
    ));
    assert_eq!(
        ledger.token(&first.id).await.expect("a database"),
        Some(first)
    );
    let lost = TokenRow {
        incident: Some(incident("INC-9")),
        ..token(3, 0)
    };
    assert!(matches!(
        ledger.add_token(&lost).await,
        Err(LedgerError::UnknownIncident(_))
    ));
    assert_eq!(ledger.token(&lost.id).await.expect("a database"), None);
}

pub(super) async fn token_is_valid_until_it_expires_or_is_revoked(ledger: Ledger) {
    let token = token(1, 0);
    ledger.add_token(&token).await.expect("a database");
    assert!(token.is_valid(at(99)) && !token.is_valid(at(100)));
    assert_eq!(
        ledger
            .revoke_token(&token.id, at(50))
            .await
            .expect("it is there"),
        at(50)
    );
    assert_eq!(
        ledger
            .revoke_token(&token.id, at(60))
            .await
            .expect("it is there"),
        at(50),
        "the first time counts"
    );
    let revoked = ledger
        .token(&token.id)
        .await
        .expect("a database")
        .expect("it stays in the list");
    assert!(!revoked.is_valid(at(51)));
    assert_eq!(
        revoked,
        TokenRow {
            revoked_at: Some(at(50)),
            ..token
        }
    );
    let unknown = TokenId::from_random([9; 8]);
    assert!(matches!(
        ledger.revoke_token(&unknown, at(0)).await,
        Err(LedgerError::UnknownToken(_))
    ));
}
