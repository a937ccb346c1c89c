"""Other people's libraries and servers on saburo, and the example programs that use them.

The rule: a test here passes on asyncio first, unchanged. What fails on saburo alone is ours.
"""
