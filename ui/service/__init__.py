"""The work behind the page, without components: models, requests, clips, live sessions, exports, shutdown."""
