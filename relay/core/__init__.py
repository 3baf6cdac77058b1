"""Words and rules without I/O: values and `now` come in, values go out."""
