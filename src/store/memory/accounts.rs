//! Accounts in memory.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use uuid::Uuid;

use super::MemoryStore;
use crate::model::{Role, Timestamp};
use crate::store::StoreError;
use crate::store::accounts::{
    AccountChange, AccountStore, By, ChangeError, Grounds, LinkRecord, MOST_DEVICES, SessionRecord, Standing,
    TokenRecord, UserRecord, decide,
};

/// Users, and what was given to them.
#[derive(Default)]
pub(super) struct Accounts {
    users: BTreeMap<String, UserRecord>,
    sessions: HashMap<[u8; 32], SessionRecord>,
    tokens: BTreeMap<String, TokenRecord>,
    /// With the number of the password that each was made under.
    links: HashMap<Uuid, (LinkRecord, i64)>,
    devices: HashMap<(Uuid, [u8; 32]), Timestamp>,
}

impl Accounts {
    fn by_id(&mut self, account: Uuid) -> Option<&mut UserRecord> {
        self.users.values_mut().find(|user| user.id == account)
    }

    fn session(&self, hash: &[u8; 32]) -> Option<(SessionRecord, UserRecord)> {
        let session = self.sessions.get(hash)?;
        let user = self.users.values().find(|user| user.id == session.account)?;
        let good = user.password_number == session.password_number;
        good.then(|| (session.clone(), user.clone()))
    }

    fn link(&self, hash: &[u8; 32], now: Timestamp) -> Option<UserRecord> {
        let (link, number) = self.links.values().find(|(link, _)| link.hash == *hash)?;
        let user = self.users.values().find(|user| user.id == link.account)?;
        let good = link.expires_at > now && link.expires_at <= LinkRecord::latest_end(now);
        (good && user.password_number == *number).then(|| user.clone())
    }

    fn holder(&self, by: By) -> Option<Role> {
        let By::Holder { hash, now } = by else { return None };
        if let Some((session, user)) = self.session(&hash) {
            return Some(user.role).filter(|_| session.is_good(now));
        }
        self.tokens.values().find(|token| token.hash == hash && token.is_good(now)).map(|token| token.role)
    }

    fn apply(&mut self, change: AccountChange) {
        match change {
            AccountChange::AddUser(user) => drop(self.users.insert(user.name.clone(), user)),
            AccountChange::SetRole { account, role } => {
                if let Some(user) = self.by_id(account) {
                    user.role = role;
                }
            }
            AccountChange::RemoveUser { account } => {
                self.sessions.retain(|_, session| session.account != account);
                self.links.remove(&account);
                self.devices.retain(|(of, _), _| *of != account);
                self.users.retain(|_, user| user.id != account);
            }
            AccountChange::AddToken(token) => drop(self.tokens.insert(token.name.clone(), token)),
            AccountChange::RemoveToken { hash } => self.tokens.retain(|_, token| token.hash != hash),
            AccountChange::PutLink(link) => {
                if let Some(number) = self.by_id(link.account).map(|user| user.password_number) {
                    self.links.insert(link.account, (link, number));
                }
            }
        }
    }
}

#[async_trait]
impl AccountStore for MemoryStore {
    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        Ok(self.tables().accounts.users.get(name).cloned())
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        Ok(self.tables().accounts.users.values().cloned().collect())
    }

    async fn change(&self, change: AccountChange, by: By) -> Result<(), ChangeError> {
        let accounts = &mut self.tables().accounts;
        let standing = Standing {
            users: accounts.users.values().cloned().collect(),
            tokens: accounts.tokens.values().cloned().collect(),
            holder: accounts.holder(by),
        };
        decide(&change, by, &standing).map_err(ChangeError::Refused)?;
        accounts.apply(change);
        Ok(())
    }

    async fn set_password(
        &self,
        password: String,
        grounds: Grounds,
    ) -> Result<Option<UserRecord>, StoreError> {
        let accounts = &mut self.tables().accounts;
        let (account, number) = match grounds {
            Grounds::Owner { account } => (account, None),
            Grounds::Current { account, password_number } => (account, Some(password_number)),
            Grounds::Link { hash, now } => match accounts.link(&hash, now) {
                Some(user) => (user.id, None),
                None => return Ok(None),
            },
        };
        let Some(user) = accounts.by_id(account) else { return Ok(None) };
        if number.is_some_and(|number| number != user.password_number) {
            return Ok(None);
        }
        user.password = Some(password);
        user.password_number += 1;
        let user = user.clone();
        accounts.sessions.retain(|_, session| session.account != account);
        accounts.links.remove(&account);
        Ok(Some(user))
    }

    async fn add_session(&self, session: SessionRecord) -> Result<bool, StoreError> {
        let accounts = &mut self.tables().accounts;
        let user = accounts.by_id(session.account);
        let good = user.is_some_and(|user| user.password_number == session.password_number);
        if good {
            accounts.sessions.insert(session.hash, session);
        }
        Ok(good)
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        self.tables().accounts.sessions.retain(|_, session| session.expires_at >= before);
        Ok(())
    }

    async fn session(&self, hash: &[u8; 32]) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        Ok(self.tables().accounts.session(hash))
    }

    async fn sessions_of(&self, account: Uuid) -> Result<Vec<SessionRecord>, StoreError> {
        let tables = self.tables();
        let of = tables.accounts.sessions.values().filter(|session| session.account == account);
        let mut sessions: Vec<SessionRecord> = of.cloned().collect();
        sessions.sort_by_key(|session| (std::cmp::Reverse(session.created_at), session.hash));
        Ok(sessions)
    }

    async fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.tables().accounts.sessions.remove(hash);
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(self.tables().accounts.tokens.values().cloned().collect())
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.tables().accounts.tokens.values().find(|token| token.hash == *hash).cloned())
    }

    async fn link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<UserRecord>, StoreError> {
        Ok(self.tables().accounts.link(hash, now))
    }

    async fn put_device(&self, hash: [u8; 32], account: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let accounts = &mut self.tables().accounts;
        if accounts.by_id(account).is_none() {
            return Ok(());
        }
        accounts.devices.insert((account, hash), now);
        let of = |(of, _): &&(Uuid, [u8; 32])| *of == account;
        let mut known: Vec<_> = accounts.devices.keys().filter(of).copied().collect();
        known.sort_by_key(|device| {
            let seen = accounts.devices[device];
            (seen > now, std::cmp::Reverse(seen), device.1)
        });
        for device in known.into_iter().skip(usize::try_from(MOST_DEVICES).unwrap_or(usize::MAX)) {
            accounts.devices.remove(&device);
        }
        Ok(())
    }

    async fn has_device(&self, hash: &[u8; 32], account: Uuid) -> Result<bool, StoreError> {
        Ok(self.tables().accounts.devices.contains_key(&(account, *hash)))
    }
}
