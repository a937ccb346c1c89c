"""Speed of event loops on the same unchanged asyncio code: `python -m benches`."""
