//! Accounts: kept, and closed to whoever was shut out a moment ago.

use futures::future::join_all;

use super::*;
use crate::model::Role;

async fn change(accounts: &Arc<dyn AccountStore>, change: AccountChange) {
    accounts.change(change, By::Owner).await.unwrap();
}

async fn add(accounts: &Arc<dyn AccountStore>, name: &str, role: Role) -> UserRecord {
    let user = UserRecord::new(name, role, Timestamp(1));
    change(accounts, AccountChange::AddUser(user.clone())).await;
    user
}

fn session_of(user: &UserRecord, hash: u8) -> SessionRecord {
    SessionRecord {
        hash: [hash; 32],
        account: user.id,
        password_number: user.password_number,
        created_at: Timestamp(1),
        expires_at: Timestamp(9),
        address: "192.0.2.1".to_owned(),
        agent: "Lynx".to_owned(),
    }
}

fn token_of(name: &str, hash: u8, role: Role) -> TokenRecord {
    TokenRecord {
        name: name.to_owned(),
        hash: [hash; 32],
        role,
        act_as: true,
        created_at: Timestamp(1),
        expires_at: None,
    }
}

fn link_of(user: &UserRecord, hash: u8) -> AccountChange {
    AccountChange::PutLink(LinkRecord { hash: [hash; 32], account: user.id, expires_at: Timestamp(50) })
}

async fn set_password(
    accounts: &Arc<dyn AccountStore>,
    password: &str,
    grounds: Grounds,
) -> Option<UserRecord> {
    accounts.set_password(password.to_owned(), grounds).await.unwrap()
}

pub async fn accounts_are_kept<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    let user = add(&accounts, "anna", Role::Operator).await;
    let (session, token) = (session_of(&user, 1), token_of("ci", 2, Role::Reporter));
    assert!(accounts.add_session(session.clone()).await.unwrap());
    change(&accounts, AccountChange::AddToken(token.clone())).await;
    let again = AccountChange::AddToken(TokenRecord { hash: [3; 32], ..token.clone() });
    let taken = AccountRefusal::Taken { what: "token", name: "ci".to_owned() };
    assert_eq!(accounts.change(again, By::Owner).await, Err(ChangeError::Refused(taken)));
    change(&accounts, link_of(&user, 4)).await;
    drop(accounts);
    let f = f.reopen().await;
    let accounts = S::accounts(&f.store);
    assert_eq!(accounts.session(&[1; 32]).await.unwrap(), Some((session.clone(), user.clone())));
    assert_eq!(accounts.sessions_of(user.id).await.unwrap(), [session]);
    assert_eq!(accounts.token(&[2; 32]).await.unwrap(), Some(token.clone()));
    assert_eq!(accounts.tokens().await.unwrap(), [token]);
    assert_eq!(accounts.link(&[4; 32], Timestamp(49)).await.unwrap(), Some(user.clone()));
    assert_eq!(accounts.link(&[4; 32], Timestamp(50)).await.unwrap(), None, "an expired one never");
    assert_eq!(accounts.user("anna").await.unwrap(), Some(user.clone()));
    assert_eq!(accounts.users().await.unwrap(), std::slice::from_ref(&user));
    change(&accounts, AccountChange::SetRole { account: user.id, role: Role::Admin }).await;
    add(&accounts, "boss", Role::Admin).await;
    assert_eq!(accounts.user("anna").await.unwrap().unwrap().role, Role::Admin);
    change(&accounts, AccountChange::RemoveToken { hash: [2; 32] }).await;
    assert_eq!(accounts.token(&[2; 32]).await.unwrap(), None);
    change(&accounts, AccountChange::RemoveUser { account: user.id }).await;
    assert_eq!(accounts.session(&[1; 32]).await.unwrap(), None, "a removed user is signed out");
    assert_eq!(accounts.link(&[4; 32], Timestamp(1)).await.unwrap(), None);
    for gone in [
        AccountChange::RemoveUser { account: user.id },
        AccountChange::SetRole { account: user.id, role: Role::Viewer },
        AccountChange::RemoveToken { hash: [2; 32] },
        link_of(&user, 5),
    ] {
        let refused = accounts.change(gone, By::Owner).await;
        assert!(matches!(refused, Err(ChangeError::Refused(AccountRefusal::Missing { .. }))), "{refused:?}");
    }
}

pub async fn a_session_stands_with_the_password_it_was_made_under<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    let before = add(&accounts, "anna", Role::Viewer).await;
    assert!(accounts.add_session(session_of(&before, 1)).await.unwrap());
    let now = set_password(&accounts, "first", Grounds::Owner { account: before.id }).await.unwrap();
    assert_eq!((now.password.as_deref(), now.password_number), (Some("first"), 1));
    assert_eq!(accounts.user("anna").await.unwrap(), Some(now.clone()));
    assert_eq!(accounts.session(&[1; 32]).await.unwrap(), None);
    assert!(accounts.sessions_of(now.id).await.unwrap().is_empty());
    assert!(!accounts.add_session(session_of(&before, 2)).await.unwrap(), "compared with the last password");
    assert_eq!(accounts.session(&[2; 32]).await.unwrap(), None);
    assert!(accounts.add_session(session_of(&now, 3)).await.unwrap());
    // Whoever showed the last one sets nothing.
    let shown = |number| Grounds::Current { account: now.id, password_number: number };
    assert_eq!(set_password(&accounts, "second", shown(0)).await, None);
    assert!(accounts.session(&[3; 32]).await.unwrap().is_some());
    assert!(set_password(&accounts, "second", shown(1)).await.is_some());
    assert_eq!(accounts.session(&[3; 32]).await.unwrap(), None);
    assert_eq!(set_password(&accounts, "x", Grounds::Owner { account: Uuid::nil() }).await, None);
}

/// Sign-ins read the user, compare for a while, and add their session. Meanwhile the password is set.
pub async fn no_session_outlives_a_password_that_is_changed_meanwhile<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    let user = add(&accounts, "anna", Role::Viewer).await;
    for round in 1..=20_u8 {
        let sign_ins = (0..8_u8).map(|place| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move {
                let user = accounts.user("anna").await.unwrap().unwrap();
                let mut session = session_of(&user, round);
                session.hash[0] = place;
                accounts.add_session(session.clone()).await.unwrap();
                session
            })
        });
        let sign_ins: Vec<_> = sign_ins.collect();
        let password = format!("number {round}");
        let grounds = Grounds::Owner { account: user.id };
        let now = set_password(&accounts, &password, grounds).await.unwrap();
        for session in join_all(sign_ins).await {
            let session = session.unwrap();
            let alive = accounts.session(&session.hash).await.unwrap().is_some();
            assert_eq!(alive, session.password_number == now.password_number, "round {round}");
        }
    }
}

pub async fn an_account_is_its_id_and_not_its_name<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    let before = add(&accounts, "anna", Role::Viewer).await;
    assert!(accounts.add_session(session_of(&before, 1)).await.unwrap());
    change(&accounts, link_of(&before, 4)).await;
    accounts.put_device([5; 32], before.id, Timestamp(1)).await.unwrap();
    change(&accounts, AccountChange::RemoveUser { account: before.id }).await;
    let now = add(&accounts, "anna", Role::Admin).await;
    assert_ne!(now.id, before.id);
    assert_eq!(accounts.session(&[1; 32]).await.unwrap(), None);
    assert_eq!(accounts.link(&[4; 32], Timestamp(1)).await.unwrap(), None);
    assert!(!accounts.has_device(&[5; 32], now.id).await.unwrap());
    // What was on its way when the user was removed.
    assert!(!accounts.add_session(session_of(&before, 2)).await.unwrap());
    accounts.put_device([6; 32], before.id, Timestamp(1)).await.unwrap();
    assert!(!accounts.has_device(&[6; 32], before.id).await.unwrap());
    assert_eq!(set_password(&accounts, "x", Grounds::Owner { account: before.id }).await, None);
    assert_eq!(accounts.user("anna").await.unwrap(), Some(now), "nobody is brought back or changed");
}

pub async fn one_link_ends_all_others_and_works_once<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    let anna = add(&accounts, "anna", Role::Viewer).await;
    let otto = add(&accounts, "otto", Role::Viewer).await;
    let is_good = async |hash: u8| accounts.link(&[hash; 32], Timestamp(1)).await.unwrap().is_some();
    let link = |hash: u8| Grounds::Link { hash: [hash; 32], now: Timestamp(1) };
    for hash in [1, 2, 3] {
        change(&accounts, link_of(&anna, hash)).await;
    }
    change(&accounts, link_of(&otto, 9)).await;
    assert!(!is_good(1).await && !is_good(2).await && is_good(3).await, "making one ends the others");
    assert_eq!(set_password(&accounts, "x", link(2)).await, None);
    let late = Grounds::Link { hash: [3; 32], now: Timestamp(50) };
    assert_eq!(set_password(&accounts, "x", late).await, None);
    let used = join_all((0..8).map(|n| {
        let accounts = Arc::clone(&accounts);
        tokio::spawn(async move { accounts.set_password(format!("by link {n}"), link(3)).await.unwrap() })
    }));
    let used: Vec<_> = used.await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(used.len(), 1, "one of many at once uses it");
    assert_eq!(accounts.user("anna").await.unwrap().as_ref(), used.first());
    assert!(!is_good(3).await && is_good(9).await, "another's link is another's");
    // Setting a password ends them too, also one that is made at the same moment.
    change(&accounts, link_of(&anna, 4)).await;
    set_password(&accounts, "y", Grounds::Owner { account: anna.id }).await.unwrap();
    assert!(!is_good(4).await);
    for round in 10..20 {
        let made = tokio::spawn({
            let (accounts, link) = (Arc::clone(&accounts), link_of(&anna, round));
            async move { accounts.change(link, By::Owner).await }
        });
        let before = set_password(&accounts, "z", Grounds::Owner { account: anna.id }).await.unwrap();
        made.await.unwrap().unwrap();
        if let Some(user) = accounts.link(&[round; 32], Timestamp(1)).await.unwrap() {
            assert_eq!(user.password_number, before.password_number, "it was made after the password");
        }
    }
}

pub async fn changes_of_one_account_do_not_undo_each_other<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    for round in 0..10 {
        let user = add(&accounts, &format!("user {round}"), Role::Viewer).await;
        let password = format!("password {round}");
        let role = AccountChange::SetRole { account: user.id, role: Role::Operator };
        let (set, changed) = tokio::join!(
            set_password(&accounts, &password, Grounds::Owner { account: user.id }),
            accounts.change(role, By::Owner),
        );
        assert!(set.is_some() && changed.is_ok());
        let now = accounts.user(&user.name).await.unwrap().unwrap();
        assert_eq!((now.role, now.password.as_deref()), (Role::Operator, Some(password.as_str())));
        let removed = AccountChange::RemoveUser { account: user.id };
        let (_, removed) = tokio::join!(
            set_password(&accounts, "another", Grounds::Owner { account: user.id }),
            accounts.change(removed, By::Owner),
        );
        removed.unwrap();
        assert_eq!(accounts.user(&user.name).await.unwrap(), None, "a removed user stays removed");
    }
}

pub async fn there_is_an_admin_whoever_removes_whom<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    for round in 0..10 {
        let admins = [
            add(&accounts, &format!("a{round}"), Role::Admin).await,
            add(&accounts, &format!("b{round}"), Role::Admin).await,
        ];
        for other in accounts.users().await.unwrap() {
            if !admins.iter().any(|admin| admin.id == other.id) {
                change(&accounts, AccountChange::RemoveUser { account: other.id }).await;
            }
        }
        let done = join_all(admins.iter().map(|admin| {
            let (accounts, account) = (Arc::clone(&accounts), admin.id);
            tokio::spawn(async move {
                let change = match round % 2 {
                    0 => AccountChange::SetRole { account, role: Role::Operator },
                    _ => AccountChange::RemoveUser { account },
                };
                accounts.change(change, By::Owner).await
            })
        }));
        let done: Vec<_> = done.await.into_iter().map(Result::unwrap).collect();
        let refused =
            |done: &Result<_, _>| matches!(done, Err(ChangeError::Refused(AccountRefusal::LastAdmin { .. })));
        assert!(done.iter().any(Result::is_ok) && done.iter().any(refused), "{done:?}");
        let left = accounts.users().await.unwrap();
        assert_eq!(left.iter().filter(|user| user.role == Role::Admin).count(), 1);
    }
}

pub async fn who_was_shut_out_meanwhile_changes_nothing<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    let boss = add(&accounts, "boss", Role::Admin).await;
    let anna = add(&accounts, "anna", Role::Admin).await;
    assert!(accounts.add_session(session_of(&anna, 1)).await.unwrap());
    change(&accounts, AccountChange::AddToken(token_of("robot", 2, Role::Admin))).await;
    let by = |hash: u8, now: i64| By::Holder { hash: [hash; 32], now: Timestamp(now) };
    let mut number = 0;
    let mut tries = async |hash: u8, now: i64| {
        number += 1;
        let new = AccountChange::AddToken(token_of(&format!("new {number}"), 100 + number, Role::Admin));
        accounts.change(new, by(hash, now)).await.map_err(|error| match error {
            ChangeError::Refused(refusal) => refusal,
            ChangeError::Store(error) => panic!("{error}"),
        })
    };
    let refused = |holder| Err(AccountRefusal::NoAuthority { holder });
    assert_eq!(tries(1, 1).await, Ok(()));
    assert_eq!(tries(2, 1).await, Ok(()));
    assert_eq!(tries(1, 9).await, refused(None), "the session has expired");
    assert_eq!(tries(3, 1).await, refused(None), "nobody's");
    change(&accounts, AccountChange::SetRole { account: anna.id, role: Role::Operator }).await;
    assert_eq!(tries(1, 1).await, refused(Some(Role::Operator)), "demoted");
    change(&accounts, AccountChange::SetRole { account: anna.id, role: Role::Admin }).await;
    set_password(&accounts, "x", Grounds::Owner { account: anna.id }).await.unwrap();
    assert_eq!(tries(1, 1).await, refused(None), "signed out");
    change(&accounts, AccountChange::RemoveToken { hash: [2; 32] }).await;
    assert_eq!(tries(2, 1).await, refused(None), "revoked");
    let removed = AccountChange::RemoveUser { account: boss.id };
    assert!(accounts.change(removed, by(1, 1)).await.is_err());
    assert_eq!(accounts.tokens().await.unwrap().len(), 2);
    assert_eq!(accounts.users().await.unwrap().len(), 2);
}

pub async fn devices_are_known_again_and_are_so_many<S: Engine>(f: Fixture<S>) {
    let accounts = S::accounts(&f.store);
    let anna = add(&accounts, "anna", Role::Viewer).await;
    let otto = add(&accounts, "otto", Role::Viewer).await;
    for number in 0..55 {
        accounts.put_device([number; 32], anna.id, Timestamp(number.into())).await.unwrap();
    }
    accounts.put_device([2; 32], anna.id, Timestamp(99)).await.unwrap();
    accounts.put_device([2; 32], otto.id, Timestamp(1)).await.unwrap();
    let f = f.reopen().await;
    let accounts = S::accounts(&f.store);
    let mut known = Vec::new();
    for number in 0..55 {
        if accounts.has_device(&[number; 32], anna.id).await.unwrap() {
            known.push(number);
        }
    }
    // 2 came again after it was forgotten, and the oldest went for it.
    let expected: Vec<u8> = [2].into_iter().chain(6..55).collect();
    assert_eq!(known, expected);
    assert!(accounts.has_device(&[2; 32], otto.id).await.unwrap());
    assert!(!accounts.has_device(&[8; 32], otto.id).await.unwrap());
}

pub async fn what_a_clock_made_that_was_far_ahead_does_not_last_as_long_as_it_was_ahead<S: Engine>(
    f: Fixture<S>,
) {
    let accounts = S::accounts(&f.store);
    let hours = |hours: u64| Timestamp(1).plus(Duration::from_secs(hours * 3_600));
    // Two years ahead, a day ahead, and right.
    for (number, made, good_now) in [(1_u8, 17_520, false), (2, 24, true), (3, 0, true)] {
        let made = hours(made);
        let user = add(&accounts, &format!("user {number}"), Role::Admin).await;
        let end = made.plus(LinkRecord::LASTS);
        let link = LinkRecord { hash: [number; 32], account: user.id, expires_at: end };
        change(&accounts, AccountChange::PutLink(link)).await;
        let session = SessionRecord { created_at: made, expires_at: end, ..session_of(&user, number) };
        assert!(accounts.add_session(session).await.unwrap());
        let token = token_of(&format!("token {number}"), 10 + number, Role::Admin);
        let token = TokenRecord { created_at: made, expires_at: Some(end), ..token };
        change(&accounts, AccountChange::AddToken(token.clone())).await;
        let for_ever = TokenRecord { expires_at: None, ..token };
        assert!(for_ever.is_good(hours(0)), "what has no end needs no clock");
        let is_good = async |at: Timestamp| {
            let link = accounts.link(&[number; 32], at).await.unwrap().is_some();
            let may = |hash: u8| By::Holder { hash: [hash; 32], now: at };
            let role = AccountChange::SetRole { account: user.id, role: Role::Admin };
            let session = accounts.change(role.clone(), may(number)).await.is_ok();
            let token = accounts.change(role, may(10 + number)).await.is_ok();
            assert_eq!((link, session), (token, token), "{number}");
            link
        };
        assert_eq!(is_good(hours(0)).await, good_now, "{number}");
        assert!(is_good(made).await, "by its own clock, which may have been the right one");
        assert!(!is_good(end).await);
        let by_link = Grounds::Link { hash: [number; 32], now: hours(0) };
        assert_eq!(set_password(&accounts, "x", by_link).await.is_some(), good_now, "{number}");
    }
    // Nor does a device that was seen then keep all later ones from being known.
    let anna = add(&accounts, "anna", Role::Viewer).await;
    for number in 0..50 {
        accounts.put_device([number; 32], anna.id, hours(17_520)).await.unwrap();
    }
    for number in 100..110 {
        accounts.put_device([number; 32], anna.id, hours(u64::from(number) - 100)).await.unwrap();
    }
    for number in 100..110 {
        assert!(accounts.has_device(&[number; 32], anna.id).await.unwrap(), "{number}");
    }
}
