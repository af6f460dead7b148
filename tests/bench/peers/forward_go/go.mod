module forward

go 1.19
