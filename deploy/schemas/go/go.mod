module linqrelay/schemas

go 1.21
