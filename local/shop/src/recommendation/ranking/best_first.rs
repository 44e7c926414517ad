//! The best sellers of each department, from last month's sales.

const RANKED: [[i32; 8]; 6] = [
    [12, 6, 42, 30, 72, 18, 96, 150],
    [1, 25, 61, 13, 37, 91, 121, 205],
    [2, 20, 8, 44, 80, 110, 14, 62],
    [9, 3, 33, 51, 15, 87, 63, 159],
    [4, 16, 10, 28, 58, 100, 40, 136],
    [5, 17, 11, 23, 65, 29, 77, 119],
];

/// The numbers of a department's best sellers.
#[must_use]
pub fn best(department: usize, length: usize) -> Vec<i32> {
    RANKED
        .get(department)
        .map_or(Vec::new(), |row| row.iter().take(length).copied().collect())
}
