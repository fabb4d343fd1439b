from benchmarks.between_class.run import main

main()
