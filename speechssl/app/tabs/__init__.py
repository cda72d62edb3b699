"""One tab of the page a file: the components, and what happens when they are used."""
