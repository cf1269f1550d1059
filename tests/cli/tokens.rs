//! API tokens, managed on the store.

use crate::{TestStore, text_of};

#[test]
fn creates_lists_and_revokes_tokens() {
    let store = TestStore::new();
    let id = store.declare();
    assert!(
        store
            .ok(&["token", "list"])
            .contains("exhibit token create")
    );
    let made = store.json(&[
        "token",
        "create",
        "--role",
        "auditor",
        "--incident",
        &id,
        "--label",
        "Zoë, counsel",
        "--expires",
        "30d",
    ]);
    let (token, token_id) = (text_of(&made["token"]), text_of(&made["id"]));
    assert!(token.starts_with(&format!("exh_{token_id}_")), "{made}");
    assert_eq!(
        (&made["role"], &made["incident"], &made["label"]),
        (
            &"auditor".into(),
            &id.as_str().into(),
            &"Zoë, counsel".into()
        )
    );
    let text = store.ok(&["token", "create", "--role", "owner"]);
    assert!(
        text.starts_with("exh_")
            && text.contains("label    tester")
            && text.contains("exhibit token revoke"),
        "{text}"
    );
    let listed = store.ok(&["token", "list"]);
    assert!(
        listed.contains("Zoë, counsel") && listed.contains("valid until"),
        "{listed}"
    );
    assert!(
        !listed.contains(&token[token.len() - 43..]), // the secret, which may have a `_`
        "no secret is shown twice"
    );
    store.ok(&["token", "revoke", &token_id]);
    let revoked = store
        .lines(&["token", "list"])
        .into_iter()
        .find(|line| line["id"] == token_id.as_str());
    assert!(revoked.expect("it stays in the list")["revokedAt"].is_string());
    assert!(store.ok(&["token", "list"]).contains("revoked at"));
    for (code, arguments, said) in [
        (2, &["token", "create"][..], "--role"),
        (
            2,
            &["token", "create", "--role", "root"],
            "there are: automation, owner, commander, auditor, admin",
        ),
        (
            2,
            &["token", "create", "--role", "owner", "--expires", "soon"],
            "expected a number",
        ),
        (
            1,
            &["token", "create", "--role", "owner", "--expires", "367d"],
            "366 days at most",
        ),
        (
            1,
            &["token", "create", "--role", "owner", "--incident", "INC-9"],
            "there is no incident INC-9",
        ),
        (2, &["token", "revoke", "x"], "16 digits"),
        (
            1,
            &["token", "revoke", "0123456789abcdef"],
            "there is no token 0123456789abcdef",
        ),
    ] {
        let text = store.fails(code, arguments);
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
