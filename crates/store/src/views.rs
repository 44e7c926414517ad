//! What only reads for people: the rows behind the operators' API.
