//! The REST API, a file a resource: what is answered, every refusal, and that a refusal changes nothing.

mod accounts;
mod bodies;
mod ending;
mod events;
mod health;
mod list;
mod messages;
mod more_time;
mod openapi;
mod pins;
mod probes;
mod progress;
mod recovery;
mod restart;
mod run;
mod start;
mod vouched;
