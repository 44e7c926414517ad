//! A small real shop to break: five services, a database, an outside payment provider, customers, and a recorder.

pub mod acmepay;
pub mod call;
pub mod checkout;
pub mod clock;
pub mod flags;
pub mod frontend;
pub mod goods;
pub mod inventory;
pub mod load;
pub mod payment;
pub mod pool;
pub mod postgres;
pub mod progress;
pub mod recommendation;
pub mod recorder;
pub mod recording;
pub mod release;
pub mod settings;
pub mod stock_list;
pub mod telemetry;
pub mod web;
pub mod wire;
