"""Tables: each one declaration of rows and columns."""
