"""The tabs of the page, one module each: the components, and what happens when they are used."""
