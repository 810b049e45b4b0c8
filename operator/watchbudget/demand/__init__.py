"""Who watches what: grants from RBAC, the catalogue of known agents, declarations, and their join."""
