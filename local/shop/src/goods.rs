//! What the services tell each other about products, orders and payments.

use serde::{Deserialize, Serialize};

/// The shop's departments.
pub const CATEGORIES: [&str; 6] = ["garden", "kitchen", "lighting", "office", "outdoor", "toys"];

/// A product as the shop shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its number.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its department.
    pub category: String,
    /// Its price in cents.
    pub price_cents: i32,
    /// Pieces in stock.
    pub available: i32,
    /// What the shop says about its stock.
    pub shelf: String,
}

/// Some pieces of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which product.
    pub product: i32,
    /// How many pieces.
    pub quantity: i32,
}

/// What a customer wants to buy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What is in the cart.
    pub lines: Vec<Line>,
    /// The card's token.
    pub card: String,
}

/// Stock that is held for an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// What it costs together, in cents.
    pub total_cents: i32,
}

/// What payment is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PaymentOrder {
    /// The order's number.
    pub order: String,
    /// How much, in cents.
    pub amount_cents: i32,
    /// The card's token.
    pub card: String,
}

/// A payment that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Paid {
    /// The provider's number for it.
    pub charge: String,
}

/// An order that was placed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Placed {
    /// The order's number.
    pub order: String,
    /// What it cost, in cents.
    pub total_cents: i32,
}
