"use strict";
// Cover the page whenever nothing new has come for half a second, and tell the server what has.
(() => {
  const KNOWN_MS = 500;
  const LOOK_MS = 100;
  let heardAt = -Infinity;
  let isClosed = false;

  class WatchedSocket extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", () => {
        heardAt = performance.now();
        if (this.readyState === WebSocket.OPEN) {
          this.send('["seen"]');
        }
      });
      this.addEventListener("close", () => {
        isClosed = true;
        look();
      });
    }
  }
  window.WebSocket = WatchedSocket;

  function look() {
    const cover = document.getElementById("cover");
    const why = document.getElementById("why");
    if (!cover || !why) {
      return;
    }
    const ageMs = performance.now() - heardAt;
    cover.classList.toggle("fresh", !isClosed && ageMs <= KNOWN_MS);
    if (isClosed) {
      why.textContent = "The connection has ended. Nothing is known of any session.";
    } else if (ageMs !== Infinity) {
      why.textContent = `Nothing new for ${(ageMs / 1000).toFixed(1)} s.`;
    }
  }

  setInterval(look, LOOK_MS);
  document.addEventListener("visibilitychange", look);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("again").addEventListener("click", () => window.location.reload());
  });
})();
