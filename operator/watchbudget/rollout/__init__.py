"""How fast pods may start: gate, permits, pacer, waves. Pure; the controller carries it out."""
