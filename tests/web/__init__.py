"""What the HTTP pages are made of, without a sentinel behind them."""
