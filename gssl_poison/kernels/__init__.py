"""The operations a block of rows goes through, one name each; `block` is their entry."""
