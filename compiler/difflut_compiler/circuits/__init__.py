"""Logic circuits as text: what every operation means in gates, and the format that provers and synthesisers read."""
