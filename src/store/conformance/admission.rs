//! Which jobs may be made, and that each is made once.

use super::*;

/// In the original: creation never refused; a later cleanup killed the oldest running job.
pub(super) async fn the_51st_job_is_refused_and_none_of_the_running_is_hurt<S: Engine>(f: Fixture<S>) {
    let rules = CreateRules { max_active: Some(50), ..CreateRules::default() };
    for number in 1..=50 {
        f.store.create(job(number, "import"), rules.clone(), at(0)).await.unwrap();
    }
    let refused = f.store.create(job(51, "import"), rules.clone(), at(0)).await;
    assert_eq!(refused, Err(StoreError::Refused(Refusal::ActiveLimit { limit: 50 })));
    assert_eq!(f.store.counts().active(), 50);
    f.store.transact(JobId(Uuid::from_u128(7 << 64)), COMPLETE, at(1)).await.unwrap();
    let mut waiting = job(52, "import");
    waiting.enqueue = true;
    f.store.create(waiting, rules.clone(), at(1)).await.unwrap();
    f.store.create(job(53, "import"), rules, at(1)).await.unwrap();
    assert_eq!((f.store.counts().active(), f.store.counts().waiting()), (50, 1));
}

/// §7, 17 and 31: two runs of a feature at once, and a second one while the first was aborting.
pub(super) async fn one_per_feature_counts_running_and_aborting<S: Engine>(f: Fixture<S>) {
    let rules = CreateRules { one_per_feature: true, ..CreateRules::default() };
    let first = f.store.create(job(1, "import"), rules.clone(), at(0)).await.unwrap().job;
    let duplicate = StoreError::Refused(Refusal::Duplicate { feature: "import".to_owned(), id: first.id });
    assert_eq!(f.store.create(job(2, "import"), rules.clone(), at(0)).await, Err(duplicate.clone()));
    f.store.transact(first.id, Command::Abort { reason: Reason::new("r").unwrap() }, at(1)).await.unwrap();
    assert_eq!(f.store.create(job(2, "import"), rules.clone(), at(1)).await, Err(duplicate));
    assert!(f.store.create(job(3, "export"), rules.clone(), at(1)).await.is_ok());
    f.store.transact(first.id, COMPLETE, at(2)).await.unwrap();
    assert!(f.store.create(job(4, "import"), rules, at(2)).await.is_ok());
}

pub(super) async fn an_owner_has_its_share_of_the_places_and_no_more<S: Engine>(f: Fixture<S>) {
    let rules = || CreateRules { max_active: Some(5), max_active_each: Some(2), ..CreateRules::default() };
    let of = |number: u128, owner: &str| {
        let mut new = job(number, "import");
        new.spec.owner = owner.to_owned();
        new
    };
    let full = |owner: &str| {
        Err(StoreError::Refused(Refusal::ActiveShare { owner: owner.to_owned(), share: 2, limit: 5 }))
    };
    let starts = (1..=6).map(|number| f.store.create(of(number, "token:a"), rules(), at(0)));
    let answers = futures::future::join_all(starts).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert!(answers.iter().filter(|answer| answer.is_err()).all(|answer| *answer == full("token:a")));
    f.store.create(of(7, "token:b"), rules(), at(1)).await.unwrap();
    let mine = answers.into_iter().find_map(Result::ok).unwrap().job.id;
    f.store.transact(mine, COMPLETE, at(2)).await.unwrap();
    let f = f.reopen().await;
    f.store.create(of(8, "token:a"), rules(), at(3)).await.unwrap();
    assert_eq!(f.store.create(of(9, "token:a"), rules(), at(3)).await, full("token:a"));
    let without = CreateRules { max_active: Some(5), ..CreateRules::default() };
    f.store.create(of(10, "token:a"), without.clone(), at(3)).await.unwrap();
    f.store.create(of(11, "token:c"), rules(), at(3)).await.unwrap();
    let refused = f.store.create(of(12, "token:d"), rules(), at(3)).await;
    assert_eq!(refused, Err(StoreError::Refused(Refusal::ActiveLimit { limit: 5 })));
}

pub(super) async fn an_idempotency_key_makes_one_job<S: Engine>(f: Fixture<S>) {
    let rules = |fingerprint: &str| CreateRules {
        idempotency: Some(IdempotencyKey { key: "anna:k1".to_owned(), fingerprint: fingerprint.to_owned() }),
        ..CreateRules::default()
    };
    let first = f.store.create(job(1, "import"), rules("a"), at(0)).await.unwrap();
    assert!(!first.replayed);
    let again = f.store.create(job(2, "import"), rules("a"), at(1)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.job.id, first.job.id);
    let other = f.store.create(job(3, "import"), rules("b"), at(1)).await;
    assert_eq!(other, Err(StoreError::Refused(Refusal::KeyReused)));
    let f = f.reopen().await;
    assert!(f.store.create(job(4, "import"), rules("a"), at(2)).await.unwrap().replayed);
    // However much later, by a clock that may be wrong: until it is told that a key is old.
    let year_after = at(365 * 86_400_000);
    assert!(f.store.create(job(5, "import"), rules("a"), year_after).await.unwrap().replayed);
    assert_eq!(f.store.forget_keys(Timestamp(0)).await, Ok(0));
    assert!(f.store.create(job(6, "import"), rules("a"), at(3)).await.unwrap().replayed);
    assert_eq!(f.store.forget_keys(Timestamp(1)).await, Ok(1));
    let kept = f.store.create(job(7, "import"), rules("b"), at(4)).await.unwrap();
    assert!(!kept.replayed);
    // What history removed leaves its key to the next of the same request.
    f.store.transact(kept.job.id, COMPLETE, at(5)).await.unwrap();
    f.store.prune(0, None, 500).await.unwrap();
    assert_eq!(f.store.get(kept.job.id).await, Ok(None));
    let other = f.store.create(job(8, "import"), rules("a"), at(6)).await;
    assert_eq!(other, Err(StoreError::Refused(Refusal::KeyReused)));
    let next = f.store.create(job(8, "import"), rules("b"), at(6)).await.unwrap();
    assert!(!next.replayed && next.job.id != kept.job.id);
    assert!(f.store.create(job(9, "import"), rules("b"), at(7)).await.unwrap().replayed);
}
