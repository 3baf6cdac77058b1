"""Charts: small SVG drawings, made on the server. Colours come from the style sheet, by class."""
