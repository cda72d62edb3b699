// Comes before the scripts of Gradio, whose "Loading..." counts the seconds in every frame, also once it is gone.
(() => {
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
})();
