"""How the evidence database came to its schema, step by step. Alembic runs them; a step is never changed later."""
