"""The database: the only room that speaks SQL.

Laws of this room:

- a transaction happens wholly or not at all, whoever is killed or cancelled meanwhile;
- a change of state is a compare-and-swap on the row's revision;
- a sealed record lives in a row of its own, so that removing it deletes bytes rather than hides them;
- what SQL decides (the state of a key, which ticket is over) agrees with `core`, and a test walks all cases of it;
- portable SQL; what only SQLite can do is in `sqlite`, what only PostgreSQL can do will be in a module of its own;
- what only asks where the database is (`urls`) does not load SQLAlchemy, which takes longer than all the rest;
- no statement's parameter is ever logged, and only `HsmkmsError` leaves this room.
"""
