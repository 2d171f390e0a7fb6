"""What the daemon keeps about who uses it: users and keys, their usage, and the audit.

Everything here lies in the database; the types and the decisions are `access`'s.
"""
