// The chosen colours, before anything is painted; no choice follows the system.
try {
  const chosen = localStorage.getItem("queuewarden.colours");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden: then the system's colours it is.
}
