// Comes before the scripts of Gradio.
(() => {
  // its "Loading..." counts the seconds in every frame, also once it is gone
  const frame = window.requestAnimationFrame.bind(window);
  let counting = false;

  window.requestAnimationFrame = (work) => {
    const loaded = document.querySelector(".masthead");
    if (!/performance\.now\(\)-/.test(work) || (loaded && !counting)) return frame(work);
    return loaded ? 0 : frame((now) => {
      counting = true;
      try { work(now); } finally { counting = false; }
    });
  };

  // it closes its connection as a person leaves, also for one who then stays; and two seconds later it loads this page
  // again, in place of another that is slow to come
  window.addEventListener("beforeunload", (event) => {
    event.stopImmediatePropagation();
    if (document.querySelector(".stage .running")) event.preventDefault();
  });
})();
