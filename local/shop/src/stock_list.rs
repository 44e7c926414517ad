//! What the shop has on its shelves when it opens.

use std::fmt::Write;

use rand::Rng;

use crate::goods::CATEGORIES;

/// Products in all; a product's department is its number modulo the departments.
pub const PRODUCTS: i32 = 360;

/// Of every so many products one is nearly sold out.
const SCARCE_EVERY: i32 = 35;

/// A product of a department that a customer looks at: most look at the popular ones.
#[must_use]
pub fn popular(rng: &mut impl Rng, category: &str) -> i32 {
    let departments = i32::try_from(CATEGORIES.len()).unwrap_or(1);
    let department = CATEGORIES
        .iter()
        .position(|name| *name == category)
        .unwrap_or(0);
    let department = i32::try_from(department).unwrap_or(0);
    let shelf = f64::from(PRODUCTS / departments);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a place on a shelf of some sixty"
    )]
    let place = (rng.random::<f64>().powf(1.3) * shelf) as i32;
    let product = place.min(PRODUCTS / departments - 1) * departments + department;
    if product == 0 { PRODUCTS } else { product }
}

/// The statements that fill an empty database.
#[must_use]
pub fn sql() -> String {
    let mut sql = String::from(
        "create table products (id integer primary key, name text not null, category text not null, \
         price_cents integer not null);\n\
         create index products_category on products (category);\n\
         create table stock (product_id integer primary key references products, \
         available integer not null check (available >= 0));\n",
    );
    let departments = i32::try_from(CATEGORIES.len()).unwrap_or(1);
    for id in 1..=PRODUCTS {
        let department = usize::try_from(id % departments).unwrap_or(0);
        let category = CATEGORIES.get(department).copied().unwrap_or("garden");
        let word = WORDS[usize::try_from(id / departments).unwrap_or(0) % WORDS.len()];
        let price = 290 + (id * 7919) % 8700;
        let available = if id % SCARCE_EVERY == 31 {
            id % 3
        } else {
            4000 + (id * 31) % 900
        };
        let _infallible = writeln!(
            sql,
            "insert into products values ({id}, '{word} for {category} no. {id}', '{category}', {price}); \
             insert into stock values ({id}, {available});"
        );
    }
    sql
}

const WORDS: [&str; 10] = [
    "Basket", "Bowl", "Box", "Clamp", "Frame", "Hook", "Lamp", "Rack", "Stand", "Tray",
];
