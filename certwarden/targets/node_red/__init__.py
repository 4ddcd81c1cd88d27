"""Node-RED: what its settings.js says, and the JavaScript that makes it take up certificates."""
