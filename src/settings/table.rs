//! The one table of all settings: flags, variables, the file's lines and `longhaul config` are made from it.

/// A setting there is.
pub struct SettingSpec {
    /// Of the flag, the line in the file, and in capitals behind `LONGHAUL_` of the variable.
    pub name: &'static str,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// What it is where nobody says anything.
    pub default: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// It is not shown.
    pub secret: bool,
}

const fn known(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> SettingSpec {
    SettingSpec { name, value, default, help, secret: false }
}

/// Every setting.
pub const KNOWN: [SettingSpec; 24] = [
    known("listen", "ADDR", "127.0.0.1:3000", "Where to listen; a port alone is one of this machine's own"),
    known(
        "database",
        "URL",
        "sqlite://longhaul.db",
        "sqlite://FILE, postgres://USER:PASSWORD@HOST/NAME, or memory: for a store that forgets",
    ),
    known("database-connections", "N", "8", "The most connections for reading to a PostgreSQL database"),
    known("files", "DIR", "longhaul-files", "Where built-in jobs put backups and exports"),
    known("public-url", "URL", "", "How browsers reach the server; https:// makes the cookie secure"),
    known(
        "trusted-proxies",
        "ADDR,…",
        "",
        "Proxies whose X-Forwarded-For names the client, as addresses or networks such as 127.0.0.1,10.0.0.0/8",
    ),
    known("max-connections", "N", "4096", "The most connections; half of them for those who are signed in"),
    known(
        "label",
        "TEXT",
        "",
        "What this server is called, in its pages: production, or production:red (amber, green, blue, grey)",
    ),
    known("max-active-jobs", "N", "50", "The most jobs that may run at once"),
    known(
        "max-active-each",
        "N",
        "",
        "The most of them that one reporter's token may have; half of them where nothing is said",
    ),
    known("max-past-jobs", "N", "100000", "The most ended jobs that are kept (memory: keeps 100)"),
    known("max-past-age", "SPAN", "90d", "How long ended jobs are kept; 0 for ever"),
    known(
        "max-log-lines",
        "N",
        "1000000",
        "The most infos, warnings and errors each that a job's log keeps from its beginning, beside the last 1000 (memory: keeps 100000)",
    ),
    known(
        "job-timeout",
        "SPAN",
        "30m",
        "How long a job may run that reports by itself; one whose process is vouched for, as by exec, is only warned of; 0 for no limit",
    ),
    known("activity-timeout", "SPAN", "10m", "How long such a job may be silent, likewise; 0 for no limit"),
    known(
        "lost-after",
        "SPAN",
        "15m",
        "How long a promised sign of life may be missing before a job ends as lost; 0 for ever",
    ),
    known("sweep-every", "SPAN", "5m", "How often stale jobs are ended"),
    known("session-lasts", "SPAN", "7d", "How long a browser stays signed in"),
    known("stop-within", "SPAN", "20s", "How long running jobs may take to end when the server stops"),
    known("log", "FILTER", "info", "What the server logs: a level, or a filter such as longhaul=debug"),
    known("log-format", "KIND", "text", "text, or json"),
    SettingSpec {
        name: "admin-password",
        value: "TEXT",
        default: "",
        help: "Sets the password of the user admin, for unattended installations",
        secret: true,
    },
    SettingSpec {
        name: "bootstrap-token",
        value: "TEXT",
        default: "",
        help: "A bearer token with the admin role, for unattended installations",
        secret: true,
    },
    known("node", "NAME", "", "What this server is called; the host's name where nothing is said"),
];
