"""Parts of wire formats that know no single format: events of streams, bodies, errors, limits of parameters."""
