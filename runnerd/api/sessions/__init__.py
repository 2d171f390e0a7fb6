"""`/runnerd/sessions`: conversations that stay, as the daemon's own API has them."""
