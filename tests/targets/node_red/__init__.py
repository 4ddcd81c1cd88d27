"""Node-RED's settings.js: read, judged and changed."""
