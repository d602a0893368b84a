"""What lies behind the page and knows no components: models, requests, clips, live sessions, shutdown."""
