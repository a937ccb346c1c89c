"""`python -m benches`: see `benches.run`."""

from benches.run import main

raise SystemExit(main())
