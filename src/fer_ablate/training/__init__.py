"""One run: trained, resumed, tested."""
